"""The program native_run.py as a user runs it, and what strace says about the functions.

usage: native_run_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import support
from support import FUNCTIONS, Place, input_files, inputs_of, manifest

import traced

OPEN = "import os\nd = open(os.environ['STASIS_DEVICE'], 'r+b', 0)\n"
PROGRAM = [sys.executable, "-B", str(FUNCTIONS / "native_run.py")]
# Not like that of another run of this test.
SLEEP = f"time.sleep({100_000 + os.getpid()})"
SLOW_HANDLER = f"import os, time\nopen(os.environ['STASIS_DEVICE'], 'rb', 0).read(100)\n{SLEEP}"


def native_run(*arguments):
    return subprocess.run([*PROGRAM, "--programs", str(Place.programs), *arguments], capture_output=True,
                          text=True, timeout=100, check=False)


class CommandLine(unittest.TestCase):
    def test_a_row_has_what_was_measured(self):
        done = native_run("hello_c", "--set", "both", "--repeat", "3", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(row["function"], row["set"], row["requests"]) for row in rows],
                         [("hello_c", "a", 2), ("hello_c", "b", 3)])
        for row in rows:
            self.assertEqual((row["repetitions"], row["errors"]), (3, 0))
            self.assertEqual(len(row["request_ns"]), row["requests"])
            self.assertEqual(row["first_response_ns"], row["request_ns"][0])
            self.assertTrue(0 < row["first_response_ns"] < 10**10 and 0 < row["ready_ns"] < 10**10)
            self.assertLess(100_000, row["peak_memory_bytes"])

    def test_responses_are_kept_for_comparison(self):
        with tempfile.TemporaryDirectory() as folder:
            done = native_run("hello_c", "hello_python", "--responses", folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            texts = [Path(folder, f"{name}.a.jsonl").read_bytes() for name in ("hello_c", "hello_python")]
            self.assertEqual(texts, [b'{"text":"Hello, Ada!"}\n{"text":"Hello, Grace!"}\n'] * 2)

    def test_a_program_of_ones_own_is_asked_ones_own_request(self):
        code = OPEN + "while r := d.read(99): d.write(r[::-1][1:] + b'\\n')"
        done = native_run("--request", "123", "--request", "45", "--", sys.executable, "-c", code)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.endswith("321\n54\n"), done.stdout)

    def test_a_function_that_is_not_deterministic_is_found(self):
        code = OPEN + "while d.read(99): d.write(os.urandom(8).hex().encode() + b'\\n')"
        done = native_run("--repeat", "2", "--request", "1", "--", sys.executable, "-c", code)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not deterministic", done.stderr)

    def test_wrong_command_lines_are_refused(self):
        for words in ((), ("no_such_function",), ("--all", "hello_c"), ("--repeat", "0", "hello_c"),
                      ("--", "/bin/true"), ("--set", "c", "hello_c")):
            done = native_run(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertNotIn("Traceback", done.stderr)

    def test_where_the_programs_are_missing_it_says_so(self):
        done = subprocess.run([*PROGRAM, "hello_c"], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 77)
        self.assertIn("hello_c: skipped", done.stderr)

    def test_the_test_of_a_function_that_is_missing_skips_and_says_why(self):
        done = subprocess.run([sys.executable, "-B", str(Path(__file__).with_name("function_test.py")),
                               "absent", str(Place.scratch), "hello_c"], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, support.SKIPPED, done.stderr)
        self.assertIn("hello_c is not there", done.stdout)

    def test_an_interrupt_leaves_no_process_and_no_file(self):
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [*PROGRAM, "--request", "1", "--", sys.executable, "-c", SLOW_HANDLER],
                env={**os.environ, "TMPDIR": folder}, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while not self.slow_handlers() and time.monotonic() < deadline:
                time.sleep(0.01)  # For something that happens in another process.
            self.assertTrue(self.slow_handlers())
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=60), 130)
            self.assertEqual(self.slow_handlers(), [])
            self.assertEqual(os.listdir(folder), [])

    @staticmethod
    def slow_handlers():
        return support.processes(lambda state, command: command.endswith(SLEEP)
                                 and "native_run" not in command and state[0] != "Z")

    def test_the_list_names_every_function(self):
        command = [sys.executable, "-B", str(FUNCTIONS / "list"), "--json"]
        done = subprocess.run([*command, "--programs", str(Place.programs)], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        self.assertEqual(set(rows), {function.name for function in manifest.load()})
        self.assertIsNone(rows["hello_c"]["missing"])


class Strace(unittest.TestCase):
    LINES = ('10 execve("/usr/bin/x", ["x"], 0x7ffd /* 3 vars */) = 0\n',
             '10 openat(AT_FDCWD</>, "/etc/absent", O_RDONLY) = -1 ENOENT (No such file or directory)\n',
             '10 openat(AT_FDCWD</a>, "b", O_RDONLY|O_CLOEXEC) = 3</a/b>\n',
             '10 read(3</a/b>, "read(4</dev/pts/9>", 4096) = 18\n',
             '11 futex(0x7f, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>\n',
             '10 read(4</dev/pts/9>,  <unfinished ...>\n', '11 <... futex resumed>) = 0\n',
             '10 <... read resumed>"{}\\n", 4096) = 3\n', '10 write(4</dev/pts/9>, "{}\\n", 3) = 3\n',
             '10 +++ exited with 0 +++\n')

    def test_calls_are_counted_before_and_after_ready(self):
        trace = traced.parse(self.LINES, "/dev/pts/")
        self.assertEqual(trace.up_to_ready, {"execve": 1, "openat": 2, "read": 1, "futex": 1})
        self.assertEqual(trace.afterwards, {"read": 1, "write": 1})
        self.assertEqual(trace.files, {"/usr/bin/x", "/a/b"})

    @unittest.skipIf(shutil.which("strace") is None, "there is no strace (scripts/packages)")
    def test_functions_read_only_what_the_manifest_allows_and_start_nothing(self):
        for function in manifest.load():
            if function.missing(Place.programs) is not None:
                continue
            with self.subTest(function.name):
                inputs = inputs_of(function)
                argv, environment, reads = function.in_places(inputs, Place.programs)
                trace, _ = traced.trace(argv, environment, input_files.requests(inputs, "b")[:2], 60)
                self.assertEqual(self.outside(trace.files, reads), [])
                calls = set(trace.up_to_ready) | set(trace.afterwards)
                self.assertGreaterEqual(calls, {"execve", "read", "write"})
                # Node.js starts threads before it runs a line of a function.
                if function.language != "JavaScript":
                    self.assertFalse(calls & {"fork", "vfork", "clone", "clone3", "socket", "connect"})

    @staticmethod
    def outside(files, reads):
        """The files that are in none of the folders, but for those that a VM has of its own."""
        allowed = [os.path.realpath(path) for path in reads]
        return [file for file in sorted(files) if not file.startswith(("/dev/", "/proc/", "/sys/"))
                and not any(file == path or file.startswith(path + "/") for path in allowed)]


if __name__ == "__main__":
    support.main("__main__")
