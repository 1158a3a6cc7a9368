"""The program invoke_latency.py as a user runs it.

usage: invoke_latency_test.py PROGRAMS_FOLDER SCRATCH_FOLDER STASIS"""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import support
from support import FUNCTIONS, Place

PROGRAM = [sys.executable, "-B", str(FUNCTIONS / "invoke_latency.py")]


def invoke_latency(*arguments):
    return subprocess.run([*PROGRAM, "--programs", str(Place.programs), *arguments], capture_output=True,
                          text=True, timeout=200, check=False)


class InvokeLatency(unittest.TestCase):
    stasis = ""

    def test_both_kinds_are_measured_and_milestones_are_in_order(self):
        done = invoke_latency("--stasis", self.stasis, "--trials", "2", "--json", "hello_c")
        self.assertEqual(done.returncode, 0, done.stderr)
        row = json.loads(done.stdout)
        self.assertEqual(row["function"], "hello_c")
        for name in ("native", "lazy answer", "answer", "end", "first_instruction", "first_response"):
            self.assertEqual(len(row["ns"][name]), 2, name)
        for answer, end in zip(row["ns"]["answer"], row["ns"]["end"]):
            self.assertLess(0, answer)
            self.assertLessEqual(answer, end)
        for begin, first, response in zip(*(row["ns"][name] for name in
                                            ("begin", "first_instruction", "first_response"))):
            self.assertLess(0, begin)
            self.assertLess(begin, first)
            self.assertLess(first, response)
        self.assertEqual(row["answer_to_native"],
                         [a / n for a, n in zip(row["ns"]["answer"], row["ns"]["native"])])

    def test_a_program_that_does_not_answer_is_an_error(self):
        done = invoke_latency("--stasis", "/bin/false", "--trials", "1", "hello_c")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot save hello_c", done.stderr)

    def test_an_unknown_function_is_refused(self):
        done = invoke_latency("no_such_function")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no function no_such_function", done.stderr)


if __name__ == "__main__":
    InvokeLatency.stasis = str(Path(sys.argv.pop()).resolve())
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: KVM is not there for this user")
        sys.exit(support.SKIPPED)
    support.main(__name__)
