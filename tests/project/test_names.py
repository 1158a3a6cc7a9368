"""Every test that ctest knows has a name of its own, free of addresses and other bytes that change.

usage: test_names.py BUILD_FOLDER [CTEST]"""

import collections
import json
import re
import subprocess
import sys


def judge(names: list[str]) -> list[str]:
    problems = [f"{name}: {count} tests have this name"
                for name, count in collections.Counter(names).items() if count > 1]
    problems += [f"{name}: contains the bytes of an object; give the parameter a PrintTo()"
                 for name in names if re.search(r"\b(?!1-byte)\d+-byte object|0x[0-9a-f]{8,}", name)]
    problems += [f"{name}: an executable was not built" for name in names
                 if name.endswith("_NOT_BUILT")]
    return problems


def main() -> int:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    ctest = sys.argv[2] if len(sys.argv) == 3 else "ctest"
    listing = subprocess.run([ctest, "--test-dir", sys.argv[1], "--show-only=json-v1"],
                             capture_output=True, check=True, text=True)
    names = [test["name"] for test in json.loads(listing.stdout)["tests"]]
    problems = judge(names)
    for problem in problems:
        print(problem)
    print(f"test_names: {len(names)} tests, {len(problems)} problems")
    return 1 if problems or not names else 0


if __name__ == "__main__":
    sys.exit(main())
