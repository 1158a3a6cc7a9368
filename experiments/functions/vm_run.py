#!/usr/bin/env python3
"""Proves that functions answer in a VM what they answer natively, byte by byte: before a save, after a
restore under every policy, along a chain of differentials, and after a restore of its end."""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # The folder of the functions is read by guests, and stays as it is.
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import input_files                                # noqa: E402  # The path above is what finds them.
import manifest                                   # noqa: E402
from native_process import FunctionFailed         # noqa: E402
from native_session import run_natively           # noqa: E402
from vm_checks import FunctionInVm, checks_of_set  # noqa: E402
from vm_process import Stasis, VmFailed, policies, why_no_kvm  # noqa: E402

EPILOG = """\
examples:
  vm_run.py --build build/release --all
  vm_run.py --build build/dev --set b --depth 5 --json hello_python pagerank
  vm_run.py --build build/dev --policy lazy hello_c

Each line is a function, a set, a stage, and whether all answers were the native ones. Stages: "before"
(started, asked, never saved), the name of each policy (restored from the warm snapshot), "chain" (asked
at every link of a chain of differentials, each saved and restored), "chain-POLICY" (restored from its
end). Exit code: 0; 1 when an answer differed or a function failed; 2 for a wrong command line; 77 when
there was nothing to run, because of KVM or packages that are missing; 130 on an interrupt.
"""

SKIPPED = 77


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="functions of the set (see the program list)")
    add("--all", action="store_true", help="every function of the set")
    add("--build", metavar="FOLDER", required=True, help="a build folder: stasis and the functions in C")
    add("--set", choices=("a", "b", "both"), default="both", help="its requests (default: both)")
    add("--policy", action="append", metavar="NAME", help="this one instead of all; repeatable")
    add("--depth", type=int, default=3, metavar="N", help="differentials in the chain (default: 3)")
    add("--scratch", metavar="FOLDER", help="for snapshots and inputs (default: a temporary folder)")
    add("--timeout", type=float, default=60, metavar="SECONDS", help="for each step (default: 60)")
    add("--json", action="store_true", help="one JSON object a line instead of a table")
    arguments = parser.parse_args()
    if bool(arguments.names) == arguments.all:
        parser.error("want names of functions, or --all")
    if arguments.depth < 1 or arguments.timeout < 1:
        parser.error("--depth and --timeout want positive numbers")
    return arguments


def print_check(name, group, check, seconds, arguments):
    if arguments.json:
        print(json.dumps({"function": name, "set": group, "stage": check.stage, "requests": check.requests,
                          "passed": check.passed, "different": check.different,
                          "failure": check.failure, "seconds": round(seconds, 3)}), flush=True)
        return
    outcome = ("equal" if check.passed else
               f"FAILED: {check.failure}" if check.failure else
               f"FAILED: other answers than natively to the requests {check.different}")
    print(f"{name:17} {group:3} {check.stage:12} {check.requests:4} {seconds:7.2f} s  {outcome}", flush=True)


def run_set(vm, name, group, place, lines, arguments):
    """Whether all stages of one set passed; FunctionFailed when it does not run natively."""
    argv, environment, _ = place
    expected = run_natively(argv, environment, lines, arguments.timeout).responses
    well, begin = True, time.monotonic()
    for check in checks_of_set(vm, lines, expected, arguments.policy, arguments.depth):
        print_check(name, group, check, time.monotonic() - begin, arguments)
        well, begin = well and check.passed, time.monotonic()
    return well


def run_function(stasis, function, folder, arguments):
    """Whether the function passed with every set asked for."""
    inputs = input_files.write(function, folder / "inputs")
    place = function.in_places(inputs, arguments.programs)
    try:
        with FunctionInVm(stasis, function, place, folder / "snapshots") as vm:
            vm.save_warm()
            groups = [group for group in manifest.SETS if arguments.set in (group, "both")]
            return all([run_set(vm, function.name, group, place, input_files.requests(inputs, group),
                                arguments) for group in groups])
    except (FunctionFailed, VmFailed) as error:
        print(f"{function.name}: {error}", file=sys.stderr, flush=True)
        return False


def run_functions(functions, folder, arguments):
    stasis = Stasis(Path(arguments.build, "cli", "stasis"), folder, arguments.timeout)
    doctor = stasis.doctor()
    missing_kvm = why_no_kvm(doctor)
    if missing_kvm is not None:
        print(f"vm_run: skipped, {missing_kvm}", file=sys.stderr)
        return SKIPPED
    known = policies(doctor)
    unknown = set(arguments.policy or ()) - set(known)
    if unknown:
        print(f"vm_run: there is no policy {', '.join(sorted(unknown))}; there are: {', '.join(known)}",
              file=sys.stderr)
        return 2
    arguments.policy = arguments.policy or known
    ran, well = 0, True
    for function in functions:
        missing = function.missing(arguments.programs)
        if missing is not None:
            print(f"{function.name}: skipped, {missing}", file=sys.stderr)
            continue
        ran += 1
        well = run_function(stasis, function, folder, arguments) and well
    return SKIPPED if ran == 0 else 0 if well else 1


def main():
    arguments = parse_arguments()
    arguments.programs = Path(arguments.build, "experiments", "functions").resolve()
    try:
        functions = manifest.load()
        unknown = set(arguments.names) - {function.name for function in functions}
        if unknown:
            print(f"vm_run: there is no function {', '.join(sorted(unknown))}; see the program list",
                  file=sys.stderr)
            return 2
        wanted = [function for function in functions if arguments.all or function.name in arguments.names]
        if arguments.scratch:
            os.makedirs(arguments.scratch, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="stasis-vm-run-", dir=arguments.scratch) as folder:
            return run_functions(wanted, Path(folder), arguments)
    except (manifest.ManifestError, VmFailed, OSError) as error:
        print(f"vm_run: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
