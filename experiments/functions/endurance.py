#!/usr/bin/env python3
"""Restores a warm function again and again, one after the other and many at once, and proves that each
answers, and that nothing is left: no memory, process or file."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # The folder of the functions is read by guests, and stays as it is.
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import host_watch                          # noqa: E402  # The path above is what finds it.
import input_files                         # noqa: E402
import manifest                            # noqa: E402
from native_process import FunctionFailed  # noqa: E402
from native_session import run_natively    # noqa: E402
from vm_checks import FunctionInVm         # noqa: E402
from vm_process import Stasis, VmFailed, policies, response_bytes, why_no_kvm  # noqa: E402

EPILOG = """\
examples:
  endurance.py --build build/release
  endurance.py --build build/dev --count 20 --at-once 4 --json
  endurance.py --build build/release --host-tolerance 256

Three phases: "processes", each restore in a process of its own, under each policy in turn; "one
process", all restores in one, whose resident memory, descriptors and mappings are watched; "at once",
so many processes side by side, which share the number of restores. MemAvailable of the host is always
reported, and judged only with --host-tolerance: it is everybody's. Exit code: 0; 1 when something
failed, grew or was left; 2 for a wrong command line; 77 without KVM; 130 on an interrupt.
"""

# In "one process": a leak of one for each restore is far above this.
DESCRIPTOR_TOLERANCE = 4
SETTLE_SECONDS = 5.0  # Within which the host has its memory back.


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--build", metavar="FOLDER", required=True, help="a build folder: stasis and the functions in C")
    add("--function", metavar="NAME", default="hello_python", help="(default: hello_python)")
    add("--count", type=int, default=1000, metavar="N", help="restores in each phase (default: 1000)")
    add("--at-once", type=int, default=16, metavar="N", help="processes side by side (default: 16)")
    add("--growth-tolerance", type=float, default=16, metavar="MIB",
        help="of one process's resident memory (default: 16)")
    add("--mapping-tolerance", type=int, default=4, metavar="N",
        help="of one process; the sanitizers' allocator wants more (default: 4)")
    add("--host-tolerance", type=float, metavar="MIB", help="of the host's available memory")
    add("--scratch", metavar="FOLDER", help="for the snapshot (default: a temporary folder)")
    add("--timeout", type=float, default=60, metavar="SECONDS", help="for each step (default: 60)")
    add("--json", action="store_true", help="one JSON object instead of text")
    arguments = parser.parse_args()
    if min(arguments.count, arguments.at_once, arguments.timeout) < 1:
        parser.error("--count, --at-once and --timeout want positive numbers")
    return arguments


def expect(report, expected, what):
    """VmFailed unless every answer in the JSON of a restore is the expected one."""
    for index, trial in enumerate(report["trials"]):
        if [response_bytes(exchange) for exchange in trial["requests"]] != [expected]:
            raise VmFailed(f"{what}, restore {index + 1}: not the native answer")
    return len(report["trials"])


def start(stasis, snapshot, line, count, environment):
    """A process that restores and asks so many times; its JSON comes on its standard output."""
    command = [stasis.program, "restore", str(snapshot), *stasis.request_words([line]), "--json",
               "--repeat", str(count), "--timeout", f"{int(stasis.timeout_seconds)}s"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, env=environment)


def finish(process, expected, what):
    """Restores that went well. VmFailed when the process did not end with 0."""
    output = process.communicate()[0]
    if process.returncode != 0:
        raise VmFailed(f"{what}: stasis exited with {process.returncode}: {output[-500:]!r}")
    return expect(json.loads(output), expected, what)


def in_own_processes(stasis, snapshot, line, expected, arguments, environment):
    names = policies(stasis.doctor())
    for index in range(arguments.count):
        words = [stasis.program, "invoke", str(snapshot), *stasis.request_words([line]), "--json",
                 "--policy", names[index % len(names)]]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=environment)
        finish(process, expected, f"process {index + 1}")
    return {"restores": arguments.count, "policies": names}


def in_one_process(stasis, snapshot, line, expected, arguments, environment):
    process = start(stasis, snapshot, line, arguments.count, environment)
    with host_watch.Watch(process.pid) as watch:
        restores = finish(process, expected, "one process")
    grown = host_watch.growth(watch.samples)
    if grown is None:
        raise VmFailed("one process: it ended before it could be watched; want more restores")
    return {"restores": restores, "resident_growth_bytes": grown.resident_bytes,
            "descriptor_growth": grown.descriptors, "mapping_growth": grown.mappings,
            "peak_resident_bytes": max(use.resident_bytes for use in watch.samples)}


def at_once(stasis, snapshot, line, expected, arguments, environment):
    each = -(-arguments.count // arguments.at_once)
    processes = []
    try:
        for _ in range(arguments.at_once):
            processes.append(start(stasis, snapshot, line, each, environment))
        together = sum(process.poll() is None for process in processes)
        restores = sum(finish(process, expected, "at once") for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {"restores": restores, "processes": len(processes), "running_when_the_last_began": together}


def available_again(before, wait_seconds):
    """The most memory that is available within that time: what others do comes and goes."""
    best, deadline = host_watch.available_bytes(), time.monotonic() + wait_seconds
    while best < before and time.monotonic() < deadline:
        time.sleep(0.1)
        best = max(best, host_watch.available_bytes())
    return best


def judge(report, arguments):
    """All that is wrong with a report, as sentences."""
    one, problems = report["one process"], []
    if one["resident_growth_bytes"] > arguments.growth_tolerance * 2**20:
        problems.append(f"one process grew by {one['resident_growth_bytes']} bytes of resident memory")
    for what, most in (("descriptor", DESCRIPTOR_TOLERANCE), ("mapping", arguments.mapping_tolerance)):
        if one[f"{what}_growth"] > most:
            problems.append(f"one process grew by {one[f'{what}_growth']} {what}s")
    for what in ("processes", "files", "changed"):
        problems += [f"{what}: {name}" for name in report["left"][what]]
    lost = report["host_available_bytes"][0] - report["host_available_bytes"][1]
    if arguments.host_tolerance is not None and lost > arguments.host_tolerance * 2**20:
        problems.append(f"the host has {lost} bytes less of available memory")
    return problems


def left_behind(before, after, folder):
    """What is there now and was not: files by path, and processes that still name the folder."""
    return {"processes": host_watch.processes_naming(str(folder)),
            "files": sorted(set(after) - set(before)),
            "changed": sorted(path for path in set(before) if before[path] != after.get(path))}


def endure(stasis, function, folder, arguments):
    inputs = input_files.write(function, folder / "inputs")
    place = function.in_places(inputs, Path(arguments.build, "experiments", "functions").resolve())
    line = input_files.requests(inputs, "b")[0]
    expected = run_natively(place[0], place[1], [line], arguments.timeout).responses[0]
    environment = dict(os.environ, TMPDIR=str(folder / "temporary"))
    (folder / "temporary").mkdir()
    phases = {"processes": in_own_processes, "one process": in_one_process, "at once": at_once}
    report = {"function": function.name}
    with FunctionInVm(stasis, function, place, folder / "snapshots") as vm:
        vm.save_warm()
        stasis.request_words([line])  # Its file is there before the files are listed.

        def files():
            return {**host_watch.files_below(folder), **host_watch.files_below("/dev/shm")}

        before, available = files(), host_watch.available_bytes()
        for name, phase in phases.items():
            begin = time.monotonic()
            report[name] = phase(stasis, vm.warm, line, expected, arguments, environment)
            report[name]["seconds"] = round(time.monotonic() - begin, 2)
        report["left"] = left_behind(before, files(), folder)
        wait_seconds = 0 if arguments.host_tolerance is None else SETTLE_SECONDS
        report["host_available_bytes"] = [available, available_again(available, wait_seconds)]
        stasis.verify(vm.warm)
    return report


def print_report(report, problems, arguments):
    if arguments.json:
        print(json.dumps({**report, "problems": problems}))
        return
    for name in ("processes", "one process", "at once"):
        print(f"{name:12} " + ", ".join(f"{key} {value}" for key, value in report[name].items()))
    before, after = (value / 2**20 for value in report["host_available_bytes"])
    print(f"{'host':12} available memory {before:.0f} MiB before, {after:.0f} MiB after")
    print("\n".join(problems) if problems else "nothing failed, grew or was left")


def main():
    arguments = parse_arguments()
    try:
        function = next((each for each in manifest.load() if each.name == arguments.function), None)
        if function is None:
            print(f"endurance: there is no function {arguments.function}; see the program list", file=sys.stderr)
            return 2
        if arguments.scratch:
            os.makedirs(arguments.scratch, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="stasis-endurance-", dir=arguments.scratch) as name:
            stasis = Stasis(Path(arguments.build, "cli", "stasis"), name, arguments.timeout)
            reason = why_no_kvm(stasis.doctor()) or function.missing(
                Path(arguments.build, "experiments", "functions").resolve())
            if reason is not None:
                print(f"endurance: skipped, {reason}", file=sys.stderr)
                return 77
            report = endure(stasis, function, Path(name), arguments)
            problems = judge(report, arguments)
            print_report(report, problems, arguments)
            return 1 if problems else 0
    except (manifest.ManifestError, FunctionFailed, VmFailed, OSError) as error:
        print(f"endurance: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
