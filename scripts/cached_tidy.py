"""clang-tidy over some files of a compilation database; files that were clean and have not changed
since are not looked at again.

usage: cached_tidy.py --build DIR --jobs N [--fast] [--no-cache] [--seconds N] PROJECT_FOLDER FOLDER...

What was clean is kept as an empty file under ${XDG_CACHE_HOME:-~/.cache}/stasis/lint, named by a hash
of everything that the result depends on: see key_of(). Exit code: 0 when nothing was found, else 1."""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

FORMAT = b"1"  # Changes when the meaning of a key does.
UNUSED_SECONDS_MAX = 30 * 24 * 3600
SKIPPED_FOLDERS = {".git", ".cache", "build", "out"}
LINE_MARKER = re.compile(rb'^# \d+ "((?:[^"\\]|\\.)*)"', re.MULTILINE)
TIDY = ["clang-tidy", "-quiet"]
FAST = ["-checks=-clang-analyzer-*"]  # Added to those of .clang-tidy.


class CleanResults:
    """The keys of results that were clean. A folder that cannot be used is no cache, not an error."""

    def __init__(self, folder: Path):
        self.folder = folder

    def contains(self, key: str) -> bool:
        try:
            os.utime(self.folder / key)  # Used now.
            return True
        except OSError:
            return False

    def add(self, key: str) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / key).touch()
        except OSError as problem:
            print(f"lint: nothing is kept for the next run: {problem}", file=sys.stderr)

    def drop_unused(self) -> None:
        oldest = time.time() - UNUSED_SECONDS_MAX
        for path in self.folder.glob("*"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except OSError:
                pass  # Another run has dropped it.


def default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "stasis", "lint")


def fingerprint_of_setting(root: Path, tidy: list[str]) -> bytes:
    """The tool's version, its options and every .clang-tidy: a header is judged by the one of its own folder."""
    digest = hashlib.sha256(FORMAT)
    digest.update(subprocess.run([tidy[0], "--version"], capture_output=True, check=True).stdout)
    digest.update(repr(tidy[1:]).encode())
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        if ".clang-tidy" in names:
            path = Path(folder, ".clang-tidy")
            digest.update(repr((str(path.relative_to(root)), path.read_bytes())).encode())
    return digest.digest()


def preprocessing(command: list[str]) -> list[str]:
    """The compile command, so that it prints the source preprocessed, with comments (NOLINT is one)
    and macro definitions (checks look at them)."""
    if Path(command[0]).name in {"ccache", "sccache"}:
        command = command[1:]
    kept, arguments = [], iter(command)
    for argument in arguments:
        if argument in {"-o", "-MF", "-MT", "-MQ"}:
            next(arguments, None)
        elif argument not in {"-c", "-MD", "-MMD"}:
            kept.append(argument)
    return [*kept, "-E", "-CC", "-dD", "-o", "-"]


def key_of(root: Path, entries: list[dict], setting: bytes) -> str | None:
    """A hash of all that clang-tidy sees of a file: setting, compile commands, the preprocessed
    source, and of the project's own files also what the preprocessor leaves out (inactive branches,
    white space). None if the file cannot be preprocessed."""
    digest = hashlib.sha256(setting)

    def add(*values) -> None:
        # A checkout at another place has the same results.
        digest.update(repr(values).encode().replace(os.fsencode(root), b"."))

    for entry in entries:
        command = entry.get("arguments") or shlex.split(entry["command"])
        ran = subprocess.run(preprocessing(command), cwd=entry["directory"], capture_output=True,
                             check=False)
        if ran.returncode != 0:
            return None
        add(entry["directory"], command, ran.stdout)
        for name in sorted(set(LINE_MARKER.findall(ran.stdout))):
            path = Path(entry["directory"], os.fsdecode(name))
            if path.is_file() and root in path.resolve().parents:
                add(name, path.read_bytes())
    return digest.hexdigest()


def lint(root: Path, build: Path, file: str, entries: list[dict], tidy: list[str], setting: bytes,
         clean: CleanResults | None) -> tuple[bool, str]:
    """Whether the result came from the cache, and what there is to say of the file."""
    key = key_of(root, entries, setting) if clean else None
    if key and clean.contains(key):
        return True, ""
    ran = subprocess.run([*tidy, "-p", str(build), file], capture_output=True, text=True,
                         errors="replace", check=False)
    found = ran.stdout if ran.returncode == 0 else ran.stdout + ran.stderr
    if ran.returncode != 0 and not found.strip():
        found = f"{file}: clang-tidy ended with {ran.returncode}\n"
    # The file may have been edited meanwhile: then nobody knows which text was clean.
    if key and not found.strip() and key_of(root, entries, setting) == key:
        clean.add(key)
    return False, found


def files_of(build: Path, root: Path, folders: list[str]) -> dict[str, list[dict]]:
    """The sources below the folders, each with its compile commands (a file may have several)."""
    database = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    prefixes = tuple(f"{root}/{folder.rstrip('/')}/" for folder in folders)
    files: dict[str, list[dict]] = {}
    for entry in database:
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if path.endswith(".cc") and path.startswith(prefixes):
            files.setdefault(path, []).append(entry)
    return files


def without_chatter(text: str) -> str:
    """Without the lines that only count suppressed warnings."""
    chatter = re.compile(r"^(\d+ warnings? |Suppressed |Use -header-filter)")
    return "".join(line for line in text.splitlines(True) if not chatter.match(line))


def by_last_change(root: Path, files: dict[str, list[dict]]) -> list[str]:
    """What the newest commits changed comes first; what they did not, by name."""
    log = subprocess.run(["git", "-C", str(root), "log", "-n", "300", "--format=", "--name-only"],
                         capture_output=True, text=True, check=False)
    newest: dict[str, int] = {}
    for position, name in enumerate(log.stdout.splitlines()):
        newest.setdefault(f"{root}/{name}", position)
    return sorted(files, key=lambda file: (newest.get(file, len(newest) + len(log.stdout)), file))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--no-cache", action="store_true")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("root", type=Path)
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    root = options.root.resolve()
    clean = None if options.no_cache else CleanResults(default_folder())
    if clean:
        clean.drop_unused()
    tidy = TIDY + FAST if options.fast else TIDY
    setting = fingerprint_of_setting(root, tidy)
    files = files_of(options.build, root, options.folders)
    if not files:
        print("lint: no such source in the compilation database", file=sys.stderr)
        return 1
    deadline = time.monotonic() + options.seconds
    cached, has_findings, left_out = 0, False, 0

    def lint_in_time(file: str) -> tuple[bool, str] | None:
        if time.monotonic() > deadline:
            return None
        return lint(root, options.build, file, files[file], tidy, setting, clean)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = [pool.submit(lint_in_time, file) for file in by_last_change(root, files)]
        for result in concurrent.futures.as_completed(results):
            outcome = result.result()
            if outcome is None:
                left_out += 1
                continue
            was_cached, found = outcome
            cached += was_cached
            has_findings = has_findings or bool(found.strip())
            print(without_chatter(found), end="", flush=True)
    if has_findings:
        print("lint: there are findings", file=sys.stderr)
        return 1
    print(f"lint: nothing found in {len(files) - left_out} files ({cached} known from the last time)"
          + (f"; no time for {left_out} more" if left_out else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
