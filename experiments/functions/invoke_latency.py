#!/usr/bin/env python3
"""Compares `stasis invoke` of a warm function with the same function started natively: from before the
process is started to the whole answer, trials of both taking turns in one run."""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import input_files                          # noqa: E402  # The path above is what finds them.
import invoked                              # noqa: E402
import manifest                             # noqa: E402
from native_device import NativeDevice      # noqa: E402
from native_process import FunctionFailed, NativeProcess  # noqa: E402

TIMEOUT_SECONDS = 60
EPILOG = """\
example:
  invoke_latency.py --stasis build/release/cli/stasis --trials 60 hello_python

"native" is the program with a pseudo-terminal for its device and the request already in it; "answer" is
`stasis invoke` of the warm snapshot until its answer is in the pipe, "end" until its process has ended;
"lazy answer" is the same without the working set that was recorded before. Milestones are of further
invocations, with --json. Exit code: 0; 1 when anything failed; 2 for a wrong
command line; 77 when there was nothing to run because packages are missing; 130 on an interrupt.
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("name", metavar="NAME", nargs="?", default="hello_python",
        help="a function of the set (default: hello_python)")
    add("--stasis", metavar="PATH", default="build/release/cli/stasis",
        help="the program (default: build/release/cli/stasis)")
    add("--trials", type=int, default=40, metavar="N", help="of each kind (default: 40)")
    add("--programs", metavar="FOLDER", default="", help="where the functions in C were built")
    add("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    if arguments.trials < 1:
        parser.error("--trials wants a positive number")
    return arguments


def native(argv, environment, line):
    """The answer, and nanoseconds from before the process is started until it was read."""
    device = NativeDevice()
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        device.send(line, deadline)
        process = NativeProcess(argv, environment, device)
        try:
            answer = device.receive(deadline, process.exited)
            took = time.monotonic_ns() - process.begin_ns
            device.end()
            process.finish(deadline)
            return answer, took
        finally:
            process.close()
    finally:
        device.close()


def measure(function, folder, arguments):
    """The row: lists of nanoseconds by name."""
    inputs = input_files.write(function, folder / "inputs")
    programs = Path(arguments.programs).resolve()
    argv, environment, _ = function.in_places(inputs, programs)
    line = input_files.requests(inputs, "a")[0]
    stasis = Path(arguments.stasis).resolve()
    snapshot = folder / "warm"
    invoked.save_warm(stasis, function, inputs, programs, snapshot)
    expected, _ = native(argv, environment, line)
    invoked.record_working_set(stasis, snapshot, line)
    row = {"native": [], "lazy answer": [], "answer": [], "end": []}
    for _ in range(arguments.trials):
        answer, took = native(argv, environment, line)
        if answer != expected:
            raise FunctionFailed("two native runs differ")
        lazy, _ = invoked.invoke(stasis, snapshot, line, expected, "lazy")
        answered, ended = invoked.invoke(stasis, snapshot, line, expected, "working-set")
        for name, value in (("native", took), ("lazy answer", lazy), ("answer", answered), ("end", ended)):
            row[name].append(value)
    reached = [invoked.milestones(stasis, snapshot, line, "working-set")[0] for _ in range(arguments.trials)]
    for name in sorted(reached[0], key=lambda each: statistics.median(r[each] for r in reached)):
        row[name] = [each[name] for each in reached if name in each]
    return row


def spread(values):
    """Median, 10th and 90th percentile."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.1, 0.9)]
    return statistics.median(ordered), *at


def main():
    arguments = parse_arguments()
    function = next((each for each in manifest.load() if each.name == arguments.name), None)
    if function is None:
        print(f"invoke_latency: there is no function {arguments.name}", file=sys.stderr)
        return 2
    missing = function.missing(Path(arguments.programs).resolve())
    if missing is not None:
        print(f"{function.name}: skipped, {missing}", file=sys.stderr)
        return 77
    try:
        with tempfile.TemporaryDirectory(prefix="stasis-invoke-") as folder:
            row = measure(function, Path(folder), arguments)
    except FunctionFailed as error:
        print(f"{function.name}: {error}", file=sys.stderr)
        return 1
    ratios = [answer / native for answer, native in zip(row["answer"], row["native"])]
    if arguments.json:
        print(json.dumps({"function": function.name, "trials": arguments.trials, "ns": row,
                          "answer_to_native": ratios}))
        return 0
    print(f"{function.name}, {arguments.trials} trials: ms from the start of the process")
    print(f"{'':20} {'median':>8} {'p10':>8} {'p90':>8}")
    for name, values in row.items():
        print(f"{name:20} " + " ".join(f"{value / 1e6:8.2f}" for value in spread(values)))
    print(f"{'answer / native':20} " + " ".join(f"{value:8.3f}" for value in spread(ratios)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
