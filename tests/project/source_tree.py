"""The files of the project, as the checks of this folder see them, and how a check reports."""

import os
import subprocess
import sys
from pathlib import Path

SKIPPED_FOLDERS = {".git", ".cache", "build", "out"}


def project_files(root: Path) -> list[Path]:
    """Every file of the project, relative to root: what git tracks or would track; without git
    (a source archive), everything outside the folders that the build creates."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        names = listing.stdout.decode().split("\0")
        return sorted(Path(name) for name in names if name and (root / name).is_file())
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        found += [(Path(folder) / name).relative_to(root) for name in names]
    return sorted(found)


def is_cpp(path: Path) -> bool:
    return path.suffix in {".h", ".cc"}


def is_script(root: Path, path: Path) -> bool:
    """True for shell scripts, by their first line."""
    if path.suffix == ".sh":
        return True
    if path.suffix or path.name.startswith("LICENSE"):
        return False
    with open(root / path, "rb") as file:
        first = file.readline(64)
    return first.startswith(b"#!") and b"sh" in first


def read_text(root: Path, path: Path) -> str | None:
    """The file's text, or None for a binary file."""
    try:
        return (root / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def finish(name: str, problems: list[str], checked: int) -> int:
    """Prints the outcome; the exit code. A check that looked at nothing has failed."""
    for problem in problems:
        print(problem)
    if checked == 0:
        print(f"{name}: found nothing to check")
        return 1
    print(f"{name}: {checked} checked, {len(problems)} problems")
    return 1 if problems else 0


def root_argument() -> Path:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} PROJECT_FOLDER")
    return Path(sys.argv[1])
