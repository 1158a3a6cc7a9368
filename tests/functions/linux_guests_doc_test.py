"""The functions in a line in docs/linux-guests.md work as they stand there.

usage: linux_guests_doc_test.py PROGRAMS_FOLDER SCRATCH_FOLDER STASIS [CLASS...]"""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
from support import FUNCTIONS, Place

DOCUMENT = FUNCTIONS.parents[1] / "docs" / "linux-guests.md"
BLOCK = re.compile(r"^## A function in a line\n.*?^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
INTERPRETER = re.compile(r"-- (/\S+)")


def examples():
    """Title and lines of each example of the section."""
    block = BLOCK.search(DOCUMENT.read_text(encoding="utf-8")).group(1)
    parts = re.split(r"^# (.*)\n", block, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


class FunctionsInALine(unittest.TestCase):
    stasis = ""

    def test_every_one_answers_what_it_says(self):
        found = examples()
        self.assertEqual([title.split(",")[0] for title in found],
                         ["Shell", "Python", "C", "Lua", "Node.js"])
        for title, code in found.items():
            with self.subTest(title), tempfile.TemporaryDirectory(dir=Place.scratch) as folder:
                interpreter = INTERPRETER.search(code)
                if interpreter is not None and not os.path.exists(interpreter.group(1)):
                    continue  # Packages of experiments/functions need not be installed.
                expected = re.search(r"# (hello .*)$", code, re.MULTILINE).group(1)
                path = f"{Path(self.stasis).parent}:{os.environ['PATH']}"
                done = subprocess.run(["/bin/sh", "-e", "-c", code], cwd=folder, capture_output=True,
                                      env={**os.environ, "PATH": path}, check=False, timeout=200)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout.decode().splitlines()[-1], expected)


if __name__ == "__main__":
    FunctionsInALine.stasis = str(Path(sys.argv.pop()).resolve())
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: KVM is not there for this user")
        sys.exit(support.SKIPPED)
    support.main(__name__)
