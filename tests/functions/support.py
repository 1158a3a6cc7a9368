"""What the tests of the functions share: where things are, and how a function is asked."""

import json
import sys
import unittest
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parents[2] / "experiments" / "functions"
sys.path.insert(0, str(FUNCTIONS / "harness"))

import input_files                       # noqa: E402  # The path above is what finds them.
import manifest                          # noqa: E402
from native_session import run_natively  # noqa: E402

SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt.
TIMEOUT_SECONDS = 60


def function_named(name):
    return next(function for function in manifest.load() if function.name == name)


class Place:
    """The folders of this run of the tests, from the command line."""

    programs = Path()
    scratch = Path()


def inputs_of(function):
    """The folder with the function's inputs, made on the first call."""
    return input_files.write(function, Place.scratch / "inputs")


def run(function, lines, **environment):
    """One fresh process, asked these lines: a native_session.Run."""
    argv, known, _ = function.in_places(inputs_of(function), Place.programs)
    return run_natively(argv, {**known, **environment}, lines, TIMEOUT_SECONDS)


def ask(name, *requests):
    """The responses of the function of that name to the requests (values), decoded."""
    lines = [json.dumps(request).encode() + b"\n" for request in requests]
    return [json.loads(response) for response in run(function_named(name), lines).responses]


def processes(wanted):
    """The command lines of the processes that wanted(state, command) picks; state: the words
    of /proc/PID/stat behind the name, of which the second is the parent (proc(5))."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_bytes().rpartition(b")")[2].decode().split()
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended meanwhile.
        command = b" ".join(words).decode(errors="replace").strip()
        if wanted(state, command):
            found.append(command)
    return found


def needs(name):
    """A decorator: the test is skipped where the function of that name cannot run, with the reason."""
    def decorate(test):
        def wrapped(self):
            missing = function_named(name).missing(Place.programs)
            if missing is not None:
                self.skipTest(f"{name}: {missing}")
            test(self)
        wrapped.__name__ = test.__name__
        return wrapped
    return decorate


def main(module):
    """Runs the tests of a module that are named after PROGRAMS and SCRATCH on the command line (all
    without names). Exit code 77 when a test was skipped and none failed."""
    Place.programs, Place.scratch = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    Place.scratch.mkdir(parents=True, exist_ok=True)
    program = unittest.main(module, argv=[sys.argv[0], *sys.argv[3:]], exit=False, verbosity=1)
    result = program.result
    for test, reason in result.skipped:
        print(f"{test}: skipped, {reason}")
    if not result.wasSuccessful() or (result.testsRun == 0 and not result.skipped):
        sys.exit(1)
    sys.exit(SKIPPED if result.skipped else 0)
