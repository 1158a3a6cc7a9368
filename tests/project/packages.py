"""scripts/packages is the one list of packages: what the build looks for is in it, and documents and
scripts ask for nothing else."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from source_tree import finish, is_script, project_files, read_text, root_argument

SECTIONS = {"build", "test", "functions", "lint"}
# Part of CMake or of the compiler.
BUILT_IN = {"Threads"}

INSTALL_COMMAND = re.compile(r"(?:apt-get|apt|brew)\s+(?:-\S+\s+)*install\s+([^\n`|;&]*)")
FIND_PACKAGE = re.compile(r"^\s*find_(?:package|dependency)\(\s*([A-Za-z0-9_]+)", re.MULTILINE)
PKG_CONFIG = re.compile(r"^\s*pkg_check_modules\(([^)]*)\)", re.MULTILINE)
MODULE = re.compile(r"^[a-z][a-z0-9-]*(?=$|[<>=])")


@dataclass
class PackageList:
    names: set[str] = field(default_factory=set)
    provided: set[str] = field(default_factory=set)  # "cmake:GTest", "pc:liblz4", "bin:cmake".
    problems: list[str] = field(default_factory=list)


def parse(text: str) -> PackageList:
    result = PackageList()
    debian, brew = set(), set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("#")[0].split()
        if len(columns) < 3 or columns[0] not in SECTIONS:
            result.problems.append(f"scripts/packages:{number}: want SECTION DEBIAN BREW PROVIDES")
            continue
        for name, column in zip(columns[1:3], (debian, brew)):
            if name in column:
                result.problems.append(f"scripts/packages:{number}: {name} is there twice")
            if name != "-":
                column.add(name)
        result.provided.update(columns[3:])
    result.names = debian | brew
    return result


def asked_for(text: str) -> set[str]:
    """The package names in the install commands of a text."""
    words = " ".join(INSTALL_COMMAND.findall(text)).split()
    return {word for word in words if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", word)}


def looked_for(text: str) -> set[str]:
    """What a CMake file needs, in the notation of the list's last column."""
    found = {f"cmake:{name}" for name in FIND_PACKAGE.findall(text) if name not in BUILT_IN}
    for arguments in PKG_CONFIG.findall(text):
        found |= {f"pc:{match[0]}" for word in arguments.split() if (match := MODULE.match(word))}
    return found


def check(root: Path) -> tuple[list[str], int]:
    packages = parse((root / "scripts/packages").read_text(encoding="utf-8"))
    problems = list(packages.problems)
    for path in project_files(root):
        text = read_text(root, path)
        if text is None or path.parts[:2] == ("tests", "project"):
            continue
        if path.suffix == ".md" or path.suffix in {".yml", ".yaml"} or is_script(root, path):
            problems += [f"{path}: {name} is not in scripts/packages"
                         for name in sorted(asked_for(text) - packages.names)]
        if path.name == "CMakeLists.txt" or path.name.endswith((".cmake", ".cmake.in")):
            problems += [f"{path}: nothing in scripts/packages provides {name}"
                         for name in sorted(looked_for(text) - packages.provided - {"cmake:stasis"})]
    return problems, len(packages.names)


if __name__ == "__main__":
    sys.exit(finish("packages", *check(root_argument())))
