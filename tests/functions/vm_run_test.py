"""The program vm_run.py as a user runs it, and that it finds what it is there to find.

usage: vm_run_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support
from support import FUNCTIONS, Place, manifest

from native_session import run_natively
from vm_checks import FunctionInVm, checks_of_set, compare
from vm_process import Stasis, VmFailed, launch_words, memory_bytes, response_bytes, why_no_kvm

PROGRAM = [sys.executable, "-B", str(FUNCTIONS / "vm_run.py")]


def build_folder():
    """That of the programs: PROGRAMS_FOLDER is experiments/functions in it."""
    return Place.programs.parents[1]


def vm_run(*arguments, **environment):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=100, check=False,
                          env={**os.environ, **environment})


def exchange(text):
    return {"response": text}


class Comparison(unittest.TestCase):
    def test_equal_answers_pass(self):
        check = compare("lazy", [b"one\n", b"\xff\n"], [exchange("one\n"), {"response_hex": "ff0a"}])
        self.assertEqual((check.stage, check.requests, check.passed), ("lazy", 2, True))

    def test_each_answer_that_differs_by_a_byte_is_named(self):
        check = compare("lazy", [b"one\n", b"two\n", b"three\n"],
                        [exchange("one"), exchange("two\n"), exchange("three\n\n")])
        self.assertEqual((check.passed, check.different), (False, [0, 2]))

    def test_a_missing_answer_is_a_failure(self):
        check = compare("chain", [b"one\n", b"two\n"], [exchange("one\n")])
        self.assertEqual((check.passed, check.failure), (False, "1 answers to 2 requests"))

    def test_answers_come_back_as_bytes(self):
        self.assertEqual(response_bytes(exchange("\u00e9\n")), b"\xc3\xa9\n")
        self.assertEqual(response_bytes({"response_hex": "00ff"}), b"\0\xff")

    def test_memory_is_a_power_of_two_above_what_is_resident(self):
        for function in manifest.load():
            size = memory_bytes(function)
            self.assertEqual(size & (size - 1), 0)
            self.assertGreaterEqual(size, 2 * (function.memory_mib << 20))

    def test_only_files_that_are_there_are_allowed(self):
        before, behind = launch_words(["/bin/true", "-x"], {"A": "b"}, ["/no/such/file", "/usr"], 1 << 26)
        self.assertEqual(before, ["--memory", str(1 << 26), "--allow-read", "/usr", "--env", "A=b"])
        self.assertEqual(behind, ["--", "/bin/true", "-x"])

    def test_a_backend_that_is_missing_has_its_reason(self):
        self.assertEqual(why_no_kvm({"backends": [{"name": "kvm", "available": False, "reason": "no"}]}), "no")
        self.assertIsNone(why_no_kvm({"backends": [{"name": "kvm", "available": True}]}))
        self.assertIn("without KVM", why_no_kvm({"backends": []}))


class CommandLine(unittest.TestCase):
    def refused(self, code, expected, *arguments, **environment):
        done = vm_run(*arguments, **environment)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(expected, done.stderr)

    def test_names_or_all_are_wanted(self):
        self.refused(2, "want names of functions, or --all", "--build", str(build_folder()))
        self.refused(2, "--depth", "--build", "x", "--depth", "0", "hello_c")

    def test_an_unknown_function_is_named(self):
        self.refused(2, "there is no function nonsense", "--build", str(build_folder()), "nonsense")

    def test_a_folder_without_stasis_is_named(self):
        self.refused(1, "/no/such/build/cli/stasis: No such file", "--build", "/no/such/build", "hello_c")

    def test_without_kvm_it_says_why_and_skips(self):
        self.refused(support.SKIPPED, "/no/kvm", "--build", str(build_folder()), "hello_c",
                     STASIS_KVM_DEVICE="/no/kvm")


class OnKvm(unittest.TestCase):
    """Programs that answer otherwise in a VM, or not at all, fail their checks."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(dir=Place.scratch)
        self.addCleanup(self.folder.cleanup)
        self.stasis = Stasis(build_folder() / "cli" / "stasis", self.folder.name, 30)
        reason = why_no_kvm(self.stasis.doctor())
        if reason is not None:
            self.skipTest(reason)

    def place(self, code):
        path = Path(self.folder.name, "handler.sh")
        path.write_text(f'exec 3<>"${{STASIS_DEVICE:-/dev/stasis}}"\n{code}\n', encoding="utf-8")
        return ["/bin/sh", str(path)], {"LC_ALL": "C"}, ["/bin/sh", "/usr/lib", str(path)]

    def checks(self, code, lines):
        place = self.place(code)
        expected = run_natively(place[0], place[1], lines, 30).responses
        function = support.function_named("hello_sh")  # For its memory.
        with FunctionInVm(self.stasis, function, place, Path(self.folder.name, "snapshots")) as vm:
            vm.save_warm()
            return {check.stage: check for check in checks_of_set(vm, lines, expected, ["lazy"], 2)}

    def test_an_answer_that_depends_on_the_place_is_found_at_every_stage(self):
        checks = self.checks('while read -r x <&3; do if [ "$x" = b ]; then echo "$$ $PPID" >&3; '
                             'else echo same >&3; fi; done', [b"a\n", b"b\n"])
        self.assertEqual({stage: check.different for stage, check in checks.items()},
                         {"before": [1], "lazy": [1], "chain": [1, 3], "chain-lazy": [1]})
        self.assertEqual(os.listdir(self.folder.name), ["handler.sh"])

    def test_an_answer_that_depends_on_earlier_requests_is_found_where_they_differ(self):
        checks = self.checks("n=0; while read -r x <&3; do n=$((n + 1)); echo $n >&3; done", [b"a\n", b"b\n"])
        self.assertTrue(checks["before"].passed and checks["lazy"].passed)
        self.assertEqual(checks["chain"].different, [2, 3])  # 3 and 4 at its second link.
        self.assertEqual(checks["chain-lazy"].different, [0, 1])

    def test_a_guest_that_ends_instead_of_answering_is_reported_with_what_it_said(self):
        # Natively it answers: there the device is a terminal.
        checks = self.checks("while read -r x <&3; do [ -t 3 ] || { echo last words >&2; exit 3; }; echo y >&3; "
                             "done", [b"a\n"])
        for stage in ("before", "lazy", "chain"):
            self.assertIn("exited with code 3", checks[stage].failure, stage)
        self.assertNotIn("chain-lazy", checks)

    def test_a_program_that_cannot_start_is_reported(self):
        function = support.function_named("hello_sh")
        place = (["/no/such/program"], {}, [])
        with FunctionInVm(self.stasis, function, place, Path(self.folder.name, "snapshots")) as vm:
            with self.assertRaisesRegex(VmFailed, "/no/such/program"):
                vm.save_warm()

    def test_a_row_is_one_json_object(self):
        done = vm_run("--build", str(build_folder()), "--set", "a", "--policy", "lazy", "--depth", "1",
                      "--json", "hello_static")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(row["function"], row["set"], row["stage"], row["requests"]) for row in rows],
                         [("hello_static", "a", stage, 2) for stage in ("before", "lazy", "chain", "chain-lazy")])
        self.assertTrue(all(row["passed"] for row in rows))

    def test_an_unknown_policy_is_named(self):
        done = vm_run("--build", str(build_folder()), "--policy", "nonsense", "hello_static")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no policy nonsense; there are: ", done.stderr)


if __name__ == "__main__":
    support.main("__main__")
