"""What a function must answer in a VM, wherever its life is cut: the bytes that it answers natively."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from vm_process import VmFailed, launch_words, memory_bytes, response_bytes

# How each differential of the chain is found, from the first on; the last repeats. Without a tracker
# all memory is compared with the parent.
TRACKERS = ("dirty-log", None)


@dataclass
class Check:
    """A value: one place at which the function was asked all its lines."""

    stage: str
    requests: int = 0
    different: list = field(default_factory=list)  # Indices of the lines with another answer.
    failure: str = ""  # Why there is no answer at all.

    @property
    def passed(self):
        return not self.different and not self.failure


def compare(stage, expected, exchanges):
    """The check of one stage; the exchanges are those of stasis's JSON."""
    found = [response_bytes(exchange) for exchange in exchanges]
    if len(found) != len(expected):
        return Check(stage, len(expected), failure=f"{len(found)} answers to {len(expected)} requests")
    return Check(stage, len(expected),
                 [index for index, pair in enumerate(zip(expected, found)) if pair[0] != pair[1]])


class FunctionInVm:
    """One function and its snapshots in a folder of their own: a context manager, which removes them."""

    def __init__(self, stasis, function, place, folder):
        argv, environment, reads = place
        self._stasis, self._folder = stasis, Path(folder)
        self._before, self._behind = launch_words(argv, environment, reads, memory_bytes(function))
        self.warm = self._folder / "warm"

    def __enter__(self):
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_):
        self._stasis.remove_requests()
        shutil.rmtree(self._folder)

    def launch(self, lines, *words):
        """Starts it and asks the lines, with further arguments for "stasis run"; what that reports."""
        return self._stasis.call("run", *self._before, *self._stasis.request_words(lines), *words,
                                 *self._behind)

    def save_warm(self):
        """Starts it and saves it as it waits for its first request, at the path "warm"."""
        self.launch((), "--save", self.warm)

    def ask(self, snapshot, lines, *words):
        """Restores the snapshot, asks the lines; the report of that restore."""
        answer = self._stasis.call("restore", snapshot, *self._stasis.request_words(lines), *words)
        return answer["trials"][0]

    def chain(self, lines, depth):
        """A chain of differentials upon the warm snapshot, with all lines asked before each of them;
        the answers of every link, and the last snapshot."""
        exchanges, parent = [], self.warm
        for level in range(depth):
            child = self._folder / f"level-{level + 1}"
            tracker = TRACKERS[min(level, len(TRACKERS) - 1)]
            words = ["--tracker", tracker] if tracker else []
            trial = self.ask(parent, lines, "--save", child, "--diff", "--force", *words)
            exchanges += trial["requests"]
            parent = child
        return exchanges, parent


def _checked(stage, expected, exchanges_of):
    try:
        return compare(stage, expected, exchanges_of())
    except VmFailed as error:
        return Check(stage, len(expected), failure=str(error))


def checks_of_set(vm, lines, expected, policies, depth):
    """Yields the checks of one input set: before any save, after a restore of the warm snapshot under
    every policy, on the way through a chain of differentials, and after a restore of its end under
    every policy. save_warm() comes first."""
    yield _checked("before", expected, lambda: vm.launch(lines)["requests"])
    for policy in policies:
        yield _checked(policy, expected,
                       lambda: vm.ask(vm.warm, lines, "--policy", policy)["requests"])
    end = None

    def links():
        nonlocal end
        exchanges, end = vm.chain(lines, depth)
        return exchanges

    yield _checked("chain", expected * depth, links)
    for policy in policies if end is not None else ():
        yield _checked(f"chain-{policy}", expected,
                       lambda: vm.ask(end, lines, "--policy", policy)["requests"])
