"""Documents tell the truth about the tree: links resolve, and the commands that they show exist."""

import re
import sys
from pathlib import Path

from source_tree import finish, project_files, root_argument

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
# A path of this project in backticks: `scripts/test`, `snapshot/manifest.h`.
NAMED_PATH = re.compile(r"`((?:\.ci|cli|cmake|core|docs|experiments|fuzz|guests|hvf|kvm|mock|schemas|"
                        r"scripts|session|snapshot|tests)/[\w./-]*)`")


def anchor_of(heading: str) -> str:
    """The anchor that common Markdown renderers give to a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def check_link(root: Path, path: Path, link: str) -> str | None:
    if re.match(r"[a-z]+:", link):
        return None  # Another site: not checked, tests use no network.
    target, _, anchor = link.partition("#")
    file = root / path.parent / target if target else root / path
    if not file.exists():
        return f"{path}: the link {link} leads nowhere"
    if anchor and file.suffix == ".md":
        headings = HEADING.findall(file.read_text(encoding="utf-8"))
        if anchor not in {anchor_of(heading) for heading in headings}:
            return f"{path}: {target or path} has no heading for #{anchor}"
    return None


def check_commands(root: Path, path: Path, text: str) -> list[str]:
    """Every scripts/... command and every --preset in a shell example exists."""
    problems = []
    presets = (root / "CMakePresets.json").read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        for command in re.findall(r"(?:^|[\s$])((?:scripts|\.ci)/[\w-]+)", block):
            if not (root / command).is_file():
                problems.append(f"{path}: {command} does not exist")
        for preset in re.findall(r"--preset[ =]([\w-]+)", block):
            if f'"name": "{preset}"' not in presets:
                problems.append(f"{path}: there is no preset {preset}")
    return problems


def check(root: Path) -> tuple[list[str], int]:
    problems, checked = [], 0
    for path in project_files(root):
        if path.suffix != ".md":
            continue
        text = (root / path).read_text(encoding="utf-8")
        checked += 1
        problems += filter(None, (check_link(root, path, link) for link in LINK.findall(text)))
        problems += check_commands(root, path, text)
        problems += [f"{path}: `{name}` does not exist" for name in NAMED_PATH.findall(text)
                     if not (root / name).exists() and not (root / path.parent / name).exists()]
    return problems, checked


if __name__ == "__main__":
    sys.exit(finish("documents", *check(root_argument())))
