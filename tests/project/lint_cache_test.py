"""scripts/lint takes a result from its cache only while nothing that it depends on has changed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt.
CACHED_TIDY = Path(__file__).resolve().parents[2] / "scripts" / "cached_tidy.py"
# What the setting below calls a finding.
BAD_FUNCTION = "inline int BadName() { return 1; }\n"
SETTING = """Checks: '-*,readability-identifier-naming'
WarningsAsErrors: '*'
HeaderFilterRegex: '.*'
CheckOptions:
  - { key: readability-identifier-naming.FunctionCase, value: %s }
"""


class LintCacheTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve() / "project"
        self.cache = self.root.parent / "cache"
        for name in ("core", "build"):
            (self.root / name).mkdir(parents=True)
        self.write(".clang-tidy", SETTING % "lower_case")
        self.write("core/a.h", "#pragma once\ninline int from_header() { return 1; }\n")
        self.write("core/a.cc", '#include "core/a.h"\nint from_source() { return from_header(); }\n')
        self.write_command("clang++ -I. -std=c++20 -c core/a.cc -o a.o")

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.root / name).read_text(encoding="utf-8") + text)

    def write_command(self, command: str) -> None:
        self.write("build/compile_commands.json", json.dumps(
            [{"directory": str(self.root), "command": command, "file": "core/a.cc"}]))

    def lint(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-B", str(CACHED_TIDY), "--build", str(self.root / "build"), *options,
             str(self.root), "core"],
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache)}, capture_output=True, text=True,
            check=False)

    def expect_clean(self, known: int, *options: str) -> None:
        ran = self.lint(*options)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertIn(f"nothing found in 1 files ({known} known", ran.stdout)

    def expect_finding(self) -> None:
        ran = self.lint()
        self.assertEqual(ran.returncode, 1, ran.stdout + ran.stderr)
        self.assertIn("invalid case style", ran.stdout)

    def test_a_checkout_at_another_place_is_known(self):
        self.expect_clean(0)
        self.root = self.root.rename(self.root.parent / "moved")
        self.write_command("clang++ -I. -std=c++20 -c core/a.cc -o a.o")
        self.expect_clean(1)

    def test_what_was_clean_is_not_looked_at_again(self):
        self.expect_clean(0)
        self.expect_clean(1)

    def test_without_the_cache_everything_is_looked_at(self):
        self.expect_clean(0)
        self.expect_clean(0, "--no-cache")

    def test_a_finding_is_found_again(self):
        self.append("core/a.cc", BAD_FUNCTION)
        self.expect_finding()
        self.expect_finding()

    def test_a_changed_source_is_looked_at(self):
        self.expect_clean(0)
        self.append("core/a.cc", BAD_FUNCTION)
        self.expect_finding()

    def test_a_changed_header_is_looked_at(self):
        self.expect_clean(0)
        self.append("core/a.h", BAD_FUNCTION)
        self.expect_finding()

    def test_a_removed_nolint_is_looked_at(self):
        text = (self.root / "core/a.cc").read_text(encoding="utf-8")
        self.append("core/a.cc", BAD_FUNCTION.replace("\n", "  // NOLINT: a reason\n"))
        self.expect_clean(0)
        self.write("core/a.cc", text + BAD_FUNCTION)
        self.expect_finding()

    def test_a_changed_setting_is_looked_at(self):
        self.expect_clean(0)
        self.write(".clang-tidy", SETTING % "CamelCase")
        self.expect_finding()

    def test_the_setting_of_a_folder_is_looked_at(self):
        self.expect_clean(0)
        self.write("core/.clang-tidy", SETTING % "CamelCase")
        self.expect_finding()

    def test_a_changed_compile_command_is_looked_at(self):
        self.append("core/a.cc", f"#ifdef MORE\n{BAD_FUNCTION}#endif\n")
        self.expect_clean(0)
        self.write_command("clang++ -I. -DMORE -std=c++20 -c core/a.cc -o a.o")
        self.expect_finding()

    def test_a_source_that_does_not_compile_is_a_finding_each_time(self):
        self.append("core/a.cc", '#include "core/missing.h"\n')
        for _ in range(2):
            ran = self.lint()
            self.assertEqual(ran.returncode, 1)
            self.assertIn("missing.h", ran.stdout)

    def test_results_that_nobody_used_for_a_month_are_dropped(self):
        self.expect_clean(0)
        [kept] = (self.cache / "stasis/lint").iterdir()
        long_ago = time.time() - 31 * 24 * 3600
        os.utime(kept, (long_ago, long_ago))
        self.expect_clean(0)
        self.assertGreater(kept.stat().st_mtime, long_ago + 3600)

    def test_a_cache_that_cannot_be_written_is_no_failure(self):
        self.cache.write_text("a file is in the way", encoding="utf-8")
        self.expect_clean(0)
        self.expect_clean(0)


if __name__ == "__main__":
    if not all(map(shutil.which, ("clang-tidy", "clang++"))):
        print("lint_cache_test: skipped, it needs clang-tidy and clang (scripts/packages)")
        sys.exit(SKIPPED)
    unittest.main()
