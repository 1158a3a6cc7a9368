#!/usr/bin/env python3
"""Measures what a request costs warm functions, natively and in a VM, and counts what it takes there:
system calls, page faults, exits."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # The folder of the functions is read by guests, and stays as it is.
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import input_files                         # noqa: E402  # The path above is what finds them.
import manifest                            # noqa: E402
from native_process import FunctionFailed  # noqa: E402
from vm_checks import FunctionInVm         # noqa: E402
from vm_process import Stasis, VmFailed, why_no_kvm  # noqa: E402
from request_times import measure, spread  # noqa: E402

EPILOG = """\
examples:
  vm_times.py --build build/release --all
  vm_times.py --build build/release --rounds 10 --json hello_python pagerank

The request is the first of set b. Each round asks a fresh native process, and a VM restored from the
warm snapshot with the policy lazy, once and then so often again. Times are median (10th to 90th
percentile); the ratio is that of the medians; counts are per warm request. The native times contain what
the pseudo-terminal costs (hello_c shows how much). Exit code: 0; 1 when a function failed; 2 for a wrong
command line; 77 when there was nothing to run; 130 on an interrupt.
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="functions of the set (see the program list)")
    add("--all", action="store_true", help="every function of the set")
    add("--build", metavar="FOLDER", required=True, help="a build folder; that of the preset release")
    add("--rounds", type=int, default=3, metavar="N", help="fresh processes and restores (default: 3)")
    add("--warm", type=int, default=5, metavar="N", help="warm requests in each (default: 5)")
    add("--timeout", type=float, default=60, metavar="SECONDS", help="for each step (default: 60)")
    add("--json", action="store_true", help="one JSON object a line instead of a table")
    arguments = parser.parse_args()
    if bool(arguments.names) == arguments.all:
        parser.error("want names of functions, or --all")
    if min(arguments.rounds, arguments.warm, arguments.timeout) < 1:
        parser.error("--rounds, --warm and --timeout want positive numbers")
    return arguments


def milliseconds(values):
    middle, low, high = (value / 1e6 for value in spread(values))
    digits = 2 if middle < 100 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_header(doctor, arguments):
    if arguments.json:
        return
    print(f"{doctor['stasis']}; {doctor['host']['system']} {doctor['host']['release']}, "
          f"{doctor['host']['cpus']} CPUs; {arguments.rounds} rounds of 1 + {arguments.warm} requests\n")
    print("| function | native warm, ms | VM warm, ms | ratio | native first, ms | VM first, ms "
          "| system calls | page faults | exits |\n|---|---|---|---|---|---|---|---|---|")


def print_row(name, times, arguments):
    if arguments.json:
        print(json.dumps({"function": name, **vars(times)}), flush=True)
        return
    ratio = spread(times.vm_warm_ns)[0] / spread(times.native_warm_ns)[0]
    count = times.counts
    print(f"| {name} | {milliseconds(times.native_warm_ns)} | {milliseconds(times.vm_warm_ns)} | {ratio:.2f} "
          f"| {milliseconds(times.native_first_ns)} | {milliseconds(times.vm_first_ns)} "
          f"| {count['syscalls']:.0f} | {count['page_faults']:.0f} | {count['exits']:.0f} |", flush=True)


def run_function(stasis, function, folder, arguments):
    """Whether it could be measured; prints the row or the reason."""
    inputs = input_files.write(function, folder / "inputs")
    place = function.in_places(inputs, arguments.programs)
    line = input_files.requests(inputs, "b")[0]
    try:
        with FunctionInVm(stasis, function, place, folder / "snapshots") as vm:
            vm.save_warm()
            times = measure(vm, place, line, arguments.rounds, arguments.warm, arguments.timeout)
    except (FunctionFailed, VmFailed) as error:
        print(f"{function.name}: {error}", file=sys.stderr, flush=True)
        return False
    print_row(function.name, times, arguments)
    return True


def run_functions(functions, folder, arguments):
    stasis = Stasis(Path(arguments.build, "cli", "stasis"), folder, arguments.timeout)
    doctor = stasis.doctor()
    missing_kvm = why_no_kvm(doctor)
    if missing_kvm is not None:
        print(f"vm_times: skipped, {missing_kvm}", file=sys.stderr)
        return 77
    print_header(doctor, arguments)
    results = []
    for function in functions:
        missing = function.missing(arguments.programs)
        if missing is None:
            results.append(run_function(stasis, function, folder, arguments))
        else:
            print(f"{function.name}: skipped, {missing}", file=sys.stderr)
    return 77 if not results else 0 if all(results) else 1


def main():
    arguments = parse_arguments()
    arguments.programs = Path(arguments.build, "experiments", "functions").resolve()
    try:
        functions = manifest.load()
        unknown = set(arguments.names) - {function.name for function in functions}
        if unknown:
            print(f"vm_times: there is no function {', '.join(sorted(unknown))}; see the program list",
                  file=sys.stderr)
            return 2
        wanted = [function for function in functions if arguments.all or function.name in arguments.names]
        with tempfile.TemporaryDirectory(prefix="stasis-vm-times-") as folder:
            return run_functions(wanted, Path(folder), arguments)
    except (manifest.ManifestError, VmFailed, OSError) as error:
        print(f"vm_times: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
