#!/usr/bin/env python3
"""Runs functions natively: the reference that every run in a VM is compared with.

The program is started unmodified, with a pseudo-terminal in place of /dev/stasis (its path is in
STASIS_DEVICE), and gets its requests one after the other."""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # The folder of the functions is read by guests, and stays as it is.
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import input_files                         # noqa: E402  # The path above is what finds them.
import manifest                            # noqa: E402
import traced                              # noqa: E402
from native_process import FunctionFailed  # noqa: E402
from native_session import run_natively    # noqa: E402

EPILOG = """\
examples:
  native_run.py hello_python pagerank
  native_run.py --all --programs build/release/experiments/functions --repeat 10 --json
  native_run.py --set b --responses out/native json_serdes
  native_run.py --request '{"n": 7}' -- /usr/bin/python3 my_handler.py

Times are medians over the repetitions: "ready" from the start of the process until it waits for its
first request, "first" of the first request, "others" of the later ones. They include what the
pseudo-terminal costs (hello_c shows how much). Exit code: 0; 1 when a function failed; 2 for a wrong
command line; 77 when there was nothing to run because packages are missing; 130 on an interrupt.
"""


def parse_arguments(words):
    command = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1:]
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="functions of the set (see the program list)")
    add("--all", action="store_true", help="every function of the set")
    add("--set", choices=("a", "b", "both"), default="a", help="its requests (default: a)")
    add("--request", action="append", metavar="JSON", help="this request instead; repeatable")
    add("--repeat", type=int, default=1, metavar="N", help="fresh processes (default: 1)")
    add("--timeout", type=float, default=60, metavar="SECONDS", help="for each step (default: 60)")
    add("--inputs", metavar="FOLDER", help="keep the inputs here (default: a temporary folder)")
    add("--programs", metavar="FOLDER", default="", help="where the functions in C were built")
    add("--responses", metavar="FOLDER", help="write NAME.SET.jsonl with the responses here")
    add("--syscalls", action="store_true", help="count system calls, in a further run under strace")
    add("--json", action="store_true", help="one JSON object a line instead of a table")
    arguments = parser.parse_args(words)
    arguments.command = command
    if sum((bool(arguments.names), arguments.all, bool(command))) != 1:
        parser.error("want names of functions, or --all, or -- and a command")
    if command and not arguments.request:
        parser.error("a command wants at least one --request")
    if arguments.repeat < 1 or arguments.timeout <= 0:
        parser.error("--repeat and --timeout want positive numbers")
    return arguments


def median(values):
    return statistics.median(values) if values else None


def measure(name, group, argv, environment, lines, arguments):
    """Runs one set so many times: the row, and the responses. FunctionFailed also when two runs of the
    same requests differ."""
    runs = [run_natively(argv, environment, lines, arguments.timeout) for _ in range(arguments.repeat)]
    if any(run.responses != runs[0].responses for run in runs):
        raise FunctionFailed("two runs gave different responses: it is not deterministic")
    row = {"function": name, "set": group, "repetitions": len(runs), "requests": len(lines),
           "ready_ns": median([run.ready_ns for run in runs]),
           "first_response_ns": median([run.first_response_ns for run in runs]),
           "request_ns": [median(times) for times in zip(*(run.request_ns for run in runs))],
           "peak_memory_bytes": max(run.peak_memory_bytes for run in runs),
           "cpu_seconds": median([run.user_seconds + run.system_seconds for run in runs]),
           "errors": sum(response.startswith(b'{"error"') for response in runs[0].responses)}
    if arguments.syscalls:
        found = traced.trace(argv, environment, lines, arguments.timeout)
        row["syscalls"] = None if found is None else {
            "up_to_ready": found[0].up_to_ready, "afterwards": found[0].afterwards}
    return row, runs[0].responses


def milliseconds(nanoseconds):
    return "-" if nanoseconds is None else f"{nanoseconds / 1e6:.2f}"


def print_row(row, arguments):
    if arguments.json:
        print(json.dumps(row), flush=True)
        return
    calls = ""
    if row.get("syscalls"):
        before, after = (sum(calls.values()) for calls in row["syscalls"].values())
        calls = f"  {before:6} {after:6}"
    times = (row["ready_ns"], row["first_response_ns"], median(row["request_ns"][1:]))
    print(f"{row['function']:17} {row['set']:3} "
          + " ".join(f"{milliseconds(each):>9}" for each in times)
          + f" {row['peak_memory_bytes'] / 2**20:8.1f}{calls}", flush=True)


def own_requests(arguments):
    return [request.strip().encode() + b"\n" for request in arguments.request]


def jobs_of(function, folder, arguments):
    """What to run for a function: set, argv, environment, lines."""
    inputs = input_files.write(function, folder)
    argv, environment, _ = function.in_places(inputs, Path(arguments.programs).resolve())
    if arguments.request:
        return [("own", argv, environment, own_requests(arguments))]
    return [(group, argv, environment, input_files.requests(inputs, group)) for group in manifest.SETS
            if arguments.set in (group, "both")]


def run_job(name, job, arguments):
    """Whether it went well; prints the row or the reason."""
    try:
        row, responses = measure(name, *job, arguments)
    except FunctionFailed as error:
        print(f"{name}, set {job[0]}: {error}", file=sys.stderr)
        return False
    print_row(row, arguments)
    if arguments.responses:
        target = Path(arguments.responses)
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{name}.{job[0]}.jsonl").write_bytes(b"".join(responses))
    elif arguments.request and not arguments.json:
        sys.stdout.buffer.write(b"".join(responses))
        sys.stdout.flush()
    return True


def run_functions(functions, folder, arguments):
    ran, well = 0, True
    for function in functions:
        missing = function.missing(Path(arguments.programs).resolve())
        if missing is not None:
            print(f"{function.name}: skipped, {missing}", file=sys.stderr)
            continue
        for job in jobs_of(function, folder, arguments):
            ran += 1
            well = run_job(function.name, job, arguments) and well
    return 77 if ran == 0 else 0 if well else 1


def main():
    arguments = parse_arguments(sys.argv[1:])
    if not arguments.json:
        print(f"{'function':17} {'set':3} {'ready ms':>9} {'first ms':>9} {'others ms':>9} "
              f"{'peak MiB':>8}" + ("   calls: ready, after" if arguments.syscalls else ""))
    if arguments.command:
        environment = {"LC_ALL": "C.UTF-8", "TZ": "UTC0", "PATH": "/usr/bin:/bin", "HOME": "/"}
        job = ("own", arguments.command, environment, own_requests(arguments))
        return 0 if run_job(Path(arguments.command[0]).name, job, arguments) else 1
    try:
        functions = manifest.load()
    except manifest.ManifestError as error:
        print(error, file=sys.stderr)
        return 1
    unknown = set(arguments.names) - {function.name for function in functions}
    if unknown:
        print(f"native_run: there is no function {', '.join(sorted(unknown))}; see the program list",
              file=sys.stderr)
        return 2
    wanted = [function for function in functions if arguments.all or function.name in arguments.names]
    if arguments.inputs:
        return run_functions(wanted, arguments.inputs, arguments)
    with tempfile.TemporaryDirectory(prefix="stasis-inputs-") as folder:
        return run_functions(wanted, folder, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
