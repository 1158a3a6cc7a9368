"""The program vm_times.py counts what a warm request adds, and refuses times of wrong answers.

usage: vm_times_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import json
import subprocess
import sys
import unittest

import support
from support import FUNCTIONS, Place

from request_times import latencies, per_request, spread
from vm_process import VmFailed


def counters(entries, syscalls, page_faults, rewrites):
    return {"entries": entries, "linux": {"system_calls": syscalls, "page_faults": page_faults,
                                          "page_table_rewrites": rewrites}}


def vm_times(*arguments):
    program = [sys.executable, "-B", str(FUNCTIONS / "vm_times.py"), "--build", str(Place.programs.parents[1])]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=100, check=False)


class Arithmetic(unittest.TestCase):
    def test_counts_are_those_of_the_further_requests_alone(self):
        self.assertEqual(per_request(counters(10, 5, 3, 1), counters(30, 15, 3, 2), 5),
                         {"exits": 4, "syscalls": 2, "page_faults": 0, "rewrites": 0.2})

    def test_a_wrong_answer_has_no_time(self):
        trial = {"requests": [{"response": "a\n", "latency_ns": 7}, {"response": "b\n", "latency_ns": 8}]}
        with self.assertRaises(VmFailed):
            latencies(trial, b"a\n")
        self.assertEqual(latencies({"requests": trial["requests"][:1]}, b"a\n"), [7])

    def test_the_spread_is_the_median_between_the_outer_tenths(self):
        self.assertEqual(spread(list(range(101))), (50, 10, 90))
        self.assertEqual(spread([4]), (4, 4, 4))


class OnKvm(unittest.TestCase):
    def test_a_row_has_all_samples_and_counts(self):
        done = vm_times("--rounds", "2", "--warm", "3", "--json", "hello_static")
        if done.returncode == support.SKIPPED:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        row = json.loads(done.stdout)
        self.assertEqual([len(row[name]) for name in ("native_first_ns", "native_warm_ns", "vm_first_ns",
                                                      "vm_warm_ns")], [2, 6, 2, 6])
        # One read and one write, each an exit; one more exit when the request finds it waiting.
        self.assertEqual(row["counts"]["syscalls"], 2)
        self.assertGreaterEqual(row["counts"]["exits"], 2)
        self.assertTrue(all(0 < time < 10**10 for time in row["vm_first_ns"] + row["vm_warm_ns"]))


if __name__ == "__main__":
    support.main("__main__")
