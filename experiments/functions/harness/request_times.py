"""What one request costs a warm function, natively and in a VM, and what it asks of the host there."""

import statistics
from dataclasses import dataclass, field

from native_session import run_natively
from vm_process import VmFailed, response_bytes


@dataclass
class Times:
    """A value. Nanoseconds of single requests, over all rounds; a round is a fresh process, or a fresh
    restore of one snapshot. Counts are of the VM, for one warm request, averaged."""

    native_first_ns: list = field(default_factory=list)  # After the start, of a process that is ready.
    native_warm_ns: list = field(default_factory=list)   # Of every later one.
    vm_first_ns: list = field(default_factory=list)      # After the restore.
    vm_warm_ns: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)


def counts_of(counters):
    """What is counted, out of the counters in stasis's JSON."""
    return {"exits": counters["entries"], "syscalls": counters["linux"]["system_calls"],
            "page_faults": counters["linux"]["page_faults"],
            "rewrites": counters["linux"]["page_table_rewrites"]}


def per_request(few, many, requests):
    """What each of so many further requests added to the counters."""
    few, many = counts_of(few), counts_of(many)
    return {name: (many[name] - few[name]) / requests for name in many}


def latencies(trial, expected):
    """Of the requests of a trial, whose answers must be the expected bytes."""
    for exchange in trial["requests"]:
        if response_bytes(exchange) != expected:
            raise VmFailed("a response in the VM is not the native one")
    return [exchange["latency_ns"] for exchange in trial["requests"]]


def measure(vm, place, line, rounds, warm, timeout_seconds):
    """Times of a function whose warm snapshot is saved: so many rounds, in turns natively and in a VM,
    each of one first request and so many warm ones, all with the same line."""
    argv, environment, _ = place
    lines, times = [line] * (1 + warm), Times()
    for _ in range(rounds):
        native = run_natively(argv, environment, lines, timeout_seconds)
        trial = vm.ask(vm.warm, lines, "--policy", "lazy")
        asked = latencies(trial, native.responses[0])
        times.native_first_ns.append(native.request_ns[0])
        times.native_warm_ns += native.request_ns[1:]
        times.vm_first_ns.append(asked[0])
        times.vm_warm_ns += asked[1:]
    alone = vm.ask(vm.warm, [line], "--policy", "lazy")
    times.counts = per_request(alone["counters"], trial["counters"], warm)
    return times


def spread(values):
    """Median, and the 10th and 90th percentiles (of few values: nearly the smallest and largest)."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return statistics.median(values), tenths[0], tenths[-1]
