"""What endurance.py watches it finds: growth, files, processes, answers.

usage: endurance_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import os
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path

import support
from support import FUNCTIONS, Place

import host_watch
from host_watch import Use, Watch, growth
from vm_process import VmFailed

sys.path.insert(0, str(FUNCTIONS))
import endurance  # noqa: E402  # The path above is what finds it.


def report(**changes):
    one = {"resident_growth_bytes": 0, "descriptor_growth": 0, "mapping_growth": 0}
    left = {"processes": [], "files": [], "changed": []}
    return {"one process": {**one, **changes.get("one", {})}, "left": {**left, **changes.get("left", {})},
            "host_available_bytes": changes.get("host", [100 << 20, 100 << 20])}


def judge(host_tolerance=None, **changes):
    tolerances = types.SimpleNamespace(growth_tolerance=16, mapping_tolerance=4, host_tolerance=host_tolerance)
    return endurance.judge(report(**changes), tolerances)


class Judgement(unittest.TestCase):
    def test_nothing_wrong_is_no_problem(self):
        self.assertEqual(judge(), [])
        self.assertEqual(judge(one={"resident_growth_bytes": 16 << 20, "descriptor_growth": 4}), [])

    def test_growth_above_the_tolerance_is_named(self):
        self.assertIn("resident memory", judge(one={"resident_growth_bytes": (16 << 20) + 1})[0])
        self.assertIn("5 descriptors", judge(one={"descriptor_growth": 5})[0])
        self.assertIn("5 mappings", judge(one={"mapping_growth": 5})[0])

    def test_what_is_left_is_named(self):
        problems = judge(left={"processes": ["stasis x"], "files": ["/a"], "changed": ["/b"]})
        self.assertEqual(problems, ["processes: stasis x", "files: /a", "changed: /b"])

    def test_the_hosts_memory_counts_where_that_is_asked_for(self):
        self.assertEqual(judge(host=[900 << 20, 100 << 20]), [])
        self.assertEqual(judge(host_tolerance=800, host=[900 << 20, 100 << 20]), [])
        self.assertIn("the host has", judge(host_tolerance=799, host=[900 << 20, 100 << 20])[0])

    def test_a_wrong_answer_ends_it(self):
        good, bad = ({"requests": [{"response": text}]} for text in ("a\n", "b\n"))
        self.assertEqual(endurance.expect({"trials": [good, good]}, b"a\n", "x"), 2)
        with self.assertRaisesRegex(VmFailed, "x, restore 2: not the native answer"):
            endurance.expect({"trials": [good, bad]}, b"a\n", "x")


class Watching(unittest.TestCase):
    CODE = ("import os, sys\nkept = []\nfor step in range(300):\n"
            "    if 'leak' in sys.argv: kept.append((os.open('/dev/null', 0), bytearray(100_000)))\n"
            "    print(flush=True); sys.stdin.readline()\n")

    def watched(self, *arguments):
        """The growth of a program of 300 steps, each of which waits until it was looked at."""
        process = subprocess.Popen([sys.executable, "-S", "-c", self.CODE, *arguments], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, bufsize=0)
        samples = []
        with process, process.stdin, process.stdout:
            while process.stdout.readline():
                samples.append(host_watch.use_of(process.pid))
                process.stdin.write(b"\n")
        return growth(samples)

    def test_a_program_that_keeps_what_it_takes_grows(self):
        grown = self.watched("leak")
        self.assertGreaterEqual(grown.descriptors, 190)
        self.assertGreater(grown.resident_bytes, 100 * 100_000)

    def test_a_program_that_keeps_nothing_does_not_grow(self):
        grown = self.watched()
        self.assertLessEqual(grown.descriptors, 1)
        self.assertLess(grown.resident_bytes, 1 << 20)

    def test_a_process_that_ended_has_no_use(self):
        process = subprocess.Popen(["/bin/true"])
        process.wait()
        self.assertIsNone(host_watch.use_of(process.pid))

    def test_a_watch_samples_until_it_is_over(self):
        with Watch(os.getpid()) as watch:
            while len(watch.samples) < 9:
                pass
        self.assertIsNotNone(growth(watch.samples))

    def test_few_samples_are_no_judgement(self):
        self.assertIsNone(growth([Use(1, 1, 1)] * 8))


class Leftovers(unittest.TestCase):
    def test_new_and_changed_files_are_found(self):
        with tempfile.TemporaryDirectory(dir=Place.scratch) as folder:
            path = Path(folder)
            (path / "kept").write_text("a", encoding="ascii")
            (path / "changed").write_text("a", encoding="ascii")
            before = host_watch.files_below(path)
            (path / "changed").write_text("ab", encoding="ascii")
            (path / "sub").mkdir()
            (path / "sub" / "new").write_text("", encoding="ascii")
            left = endurance.left_behind(before, host_watch.files_below(path), path / "no process names this")
            self.assertEqual(left, {"processes": [], "files": [f"{folder}/sub", f"{folder}/sub/new"],
                                    "changed": [f"{folder}/changed"]})

    def test_a_process_that_goes_on_is_found(self):
        with tempfile.TemporaryDirectory(dir=Place.scratch) as folder:
            process = subprocess.Popen([sys.executable, "-S", "-c", "input()", folder], stdin=subprocess.PIPE)
            with process, process.stdin:
                # The command line is the child's once it has executed its program.
                while not (found := host_watch.processes_naming(folder)):
                    pass
            self.assertEqual(len(found), 1)
            self.assertEqual(host_watch.processes_naming(folder), [])


if __name__ == "__main__":
    support.main("__main__")
