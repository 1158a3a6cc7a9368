"""One run of a function on this host: start, ready, requests, end; with times on one monotonic clock."""

import time
from dataclasses import dataclass, field

from native_device import DeviceTimeout, NativeDevice
from native_process import NativeProcess


@dataclass
class Run:
    """A value: what one run measured and answered. Times in nanoseconds."""

    ready_ns: int = 0          # From before the process is started until it waits for a request.
    first_response_ns: int = 0  # From there to the end of the first response.
    request_ns: list = field(default_factory=list)  # Of every request, the first included.
    peak_memory_bytes: int = 0
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    responses: list = field(default_factory=list)   # Lines, as bytes with their line end.


def _exchange(device, process, line, deadline):
    """The response to one request, and how long it took."""
    begin = time.monotonic_ns()
    try:
        device.send(line, deadline)
        response = device.receive(deadline, process.exited)
    except (DeviceTimeout, EOFError) as error:
        raise process.failure(str(error)) from None
    return response, time.monotonic_ns() - begin


def _serve(device, process, lines, timeout_seconds):
    run = Run()
    process.wait_until_ready(time.monotonic() + timeout_seconds)
    run.ready_ns = time.monotonic_ns() - process.begin_ns
    for line in lines:
        response, took_ns = _exchange(device, process, line, time.monotonic() + timeout_seconds)
        run.responses.append(response)
        run.request_ns.append(took_ns)
    run.first_response_ns = run.request_ns[0] if run.request_ns else 0
    run.peak_memory_bytes = process.peak_memory_bytes()
    # What is written after a response is written before the next request is awaited.
    process.wait_until_ready(time.monotonic() + timeout_seconds)
    unasked = device.unasked()
    if unasked:
        raise process.failure(f"the program wrote more than one line for a request: {unasked[:80]!r}")
    device.end()
    run.user_seconds, run.system_seconds = process.finish(time.monotonic() + timeout_seconds)
    return run


def run_natively(argv, environment, lines, timeout_seconds):
    """Starts the program, sends each line (bytes with their line end) and takes its response, and ends
    it. The timeout is for each step. FunctionFailed when anything goes another way; whatever happens,
    no process is left."""
    device = NativeDevice()
    try:
        process = NativeProcess(argv, environment, device)
        try:
            return _serve(device, process, lines, timeout_seconds)
        finally:
            process.close()
    finally:
        device.close()
