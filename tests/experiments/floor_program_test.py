"""stasis-floor runs, and says what Google Benchmark's programs say: rows, context, JSON.

usage: floor_program_test.py STASIS_FLOOR"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

FILTER = "^memcpy/populated_huge"


class FloorProgramTest(unittest.TestCase):
    program: str

    def run_program(self, *options: str) -> subprocess.CompletedProcess:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        done = subprocess.run([self.program, *options], env={**os.environ, "TMPDIR": folder.name},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(os.listdir(folder.name), [], "a sample was left behind")
        return done

    def test_a_filtered_run_gives_rows_and_the_host_as_json(self):
        done = self.run_program(f"--benchmark_filter={FILTER}", "--benchmark_min_time=0.0001",
                                "--benchmark_repetitions=2", "--benchmark_format=json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        rows = [row for row in report["benchmarks"] if row["run_type"] == "iteration"]
        self.assertEqual(len(rows), 2, report)
        for row in rows:
            self.assertRegex(row["name"], FILTER)
            self.assertNotIn("error_message", row)
            self.assertGreaterEqual(row["iterations"], 1)
            self.assertGreater(row["real_time"], 0)
            self.assertGreater(row["bytes_per_second"], 0)
        for fact in ("commit", "build_type", "kernel", "cpu"):
            self.assertTrue(report["context"].get(f"stasis_{fact}"), report["context"])
        if "stasis_not_quotable" in report["context"]:
            self.assertIn("NOT QUOTABLE", done.stderr)

    def test_it_lists_a_floor_for_every_part_of_a_restore(self):
        done = self.run_program("--benchmark_list_tests=true")
        self.assertEqual(done.returncode, 0, done.stderr)
        for floor in ("bare_kvm/first_instruction/256M", "first_touch/", "memcpy/to_fresh_huge",
                      "pread/", "write/fdatasync", "zero_scan", "xxh3_64/", "lz4/decompress"):
            self.assertIn(f"\n{floor}", "\n" + done.stdout)

    def test_an_unknown_option_is_refused(self):
        done = self.run_program("--benchmark_filtre=memcpy")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("benchmark_filtre", done.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    FloorProgramTest.program = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
