"""The functions in experiments/functions/README.md work as they stand there.

usage: readme_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import os
import re
import shutil
import subprocess
import unittest

import support
from support import FUNCTIONS, Place, run_natively

EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES = (b'{"n": 7}\n', b"{}\n", b'{"text": "' + b"x" * 900 + b'"}\n')


class Readme(unittest.TestCase):
    def examples(self, kind):
        text = (FUNCTIONS / "README.md").read_text(encoding="utf-8")
        return [code for found, code in EXAMPLE.findall(text)
                if found == kind and "STASIS_DEVICE" in code]

    def answers(self, kind, *interpreter):
        code, = self.examples(kind)
        path = Place.scratch / f"readme.{kind}"
        path.write_text(code, encoding="utf-8")
        if not interpreter:
            compiler = os.environ.get("CC") or shutil.which("cc")
            subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-o", f"{path}.program", path],
                           check=True)
        argv = [*interpreter, str(path)] if interpreter else [f"{path}.program"]
        run = run_natively(argv, {"LC_ALL": "C.UTF-8"}, LINES, 30)
        self.assertEqual(run.responses, [b'{"bytes": %d}\n' % len(line) for line in LINES])

    def test_shell(self):
        self.answers("sh", "/bin/sh")

    def test_python(self):
        self.answers("python", "/usr/bin/python3")

    def test_c(self):
        self.answers("c")

    @unittest.skipUnless(os.path.exists("/usr/bin/lua5.4"), "there is no Lua (scripts/packages)")
    def test_lua(self):
        self.answers("lua", "/usr/bin/lua5.4")

    @unittest.skipUnless(os.path.exists("/usr/bin/node"), "there is no Node.js (scripts/packages)")
    def test_javascript(self):
        self.answers("js", "/usr/bin/node")


if __name__ == "__main__":
    support.main("__main__")
