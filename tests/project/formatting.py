"""All C++ files are as .clang-format wants them, and shellcheck has nothing to say on the scripts.

usage: formatting.py PROJECT_FOLDER [--fix]"""

import shutil
import subprocess
import sys
from pathlib import Path

from source_tree import finish, is_cpp, is_script, project_files


SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt.


def find_formatter() -> str | None:
    """Versions of clang-format disagree; 14, of Debian 12, is the one that decides."""
    for name in ("clang-format-14", "clang-format"):
        path = shutil.which(name)
        if path and " 14." in subprocess.run([path, "--version"], capture_output=True, text=True,
                                             check=True).stdout:
            return path
    return None


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--fix"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    root = Path(arguments[0])
    files = project_files(root)
    cpp = [str(root / path) for path in files if is_cpp(path)]
    scripts = [str(root / path) for path in files if is_script(root, path)]
    formatter, shellcheck = find_formatter(), shutil.which("shellcheck")
    if formatter is None or shellcheck is None:
        print("formatting: skipped, it needs clang-format 14 and shellcheck (scripts/packages)")
        return SKIPPED
    if "--fix" in sys.argv:
        return subprocess.run([formatter, "-i", *cpp], check=False).returncode
    commands = [[formatter, "--dry-run", "--Werror", *cpp],
                [shellcheck, "--external-sources", *scripts]]
    problems = [f"{command[0]} has complaints" for command in commands
                if subprocess.run(command, check=False).returncode != 0]
    return finish("formatting", problems, len(cpp) if scripts else 0)


if __name__ == "__main__":
    sys.exit(main())
