"""Rules for every file: not too long, no paths of one machine, clean line ends, #pragma once."""

import re
import sys
from pathlib import Path

from source_tree import finish, is_cpp, is_script, project_files, read_text, root_argument

LINES_QUESTIONED = 300
LINES_MAX = 500

# Data of tests: bytes that mean something as they are.
DATA_FOLDERS = ("fuzz/corpus/", "tests/snapshot/golden/")

# A path that exists on its author's machine only.
MACHINE_PATH = re.compile(r"(?<![\w.$}\])])/(?:home|root|Users|work|mnt|tmp)/[\w.]")

# There /tmp is the file system that lives in a Linux guest, the same on every machine.
GUEST_TREES = ("tests/guests/linux/", "fuzz/linux_targets.cc")
GUEST_PATH = re.compile(r"/tmp/")


def is_code(root: Path, path: Path) -> bool:
    return is_cpp(path) or path.suffix in {".py", ".cmake", ".capnp", ".S"} or is_script(root, path)


def check_file(root: Path, path: Path, text: str) -> list[str]:
    problems = []
    lines = text.removesuffix("\n").split("\n")
    if is_code(root, path):
        if len(lines) > LINES_MAX:
            problems.append(f"{path}: {len(lines)} lines; split it (limit {LINES_MAX})")
        elif len(lines) > LINES_QUESTIONED:
            print(f"note: {path}: {len(lines)} lines; could it be two files?")
    if path.suffix == ".h" and "#pragma once" not in text:
        problems.append(f"{path}: a header starts with #pragma once")
    if text and not text.endswith("\n"):
        problems.append(f"{path}: the last line has no end")
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            problems.append(f"{path}:{number}: spaces at the end of the line")
        shown = GUEST_PATH.sub("", line) if path.as_posix().startswith(GUEST_TREES) else line
        if MACHINE_PATH.search(shown):
            problems.append(f"{path}:{number}: a path of one machine: {line.strip()}")
    return problems


def check(root: Path) -> tuple[list[str], int]:
    problems, checked = [], 0
    for path in project_files(root):
        text = read_text(root, path)
        if (text is None or path.name == "LICENSE"
                or path.as_posix().startswith(DATA_FOLDERS)):
            continue
        problems += check_file(root, path, text)
        checked += 1
    return problems, checked


if __name__ == "__main__":
    sys.exit(finish("file_rules", *check(root_argument())))
