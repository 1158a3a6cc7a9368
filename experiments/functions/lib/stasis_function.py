"""The loop of a function in Python: one request in, one response out, until no further one comes.

A handler calls serve(handle) when everything that it wants warm is loaded. handle gets the request, a
dict, and returns the response, a dict. It raises BadRequest for what is wrong with a request; the text
goes into the response as "error", and so does that of any other exception: a bad request must not end
a function that others wait for."""

import json
import os
import re
import sys

# What one read takes at most, and the longest request that is collected.
READ_BYTES = 65536
REQUEST_BYTES_MAX = 1 << 20

INPUT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)


class BadRequest(Exception):
    """The request asks for something that the function does not do."""


def integer(request, name, least, most):
    """The request's integer of that name, within the bounds (both included)."""
    value = request.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name}: an integer is wanted")
    if not least <= value <= most:
        raise BadRequest(f"{name}: want {least} to {most}")
    return value


def text(request, name, length_max):
    """The request's string of that name."""
    value = request.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name}: a string is wanted")
    if len(value) > length_max:
        raise BadRequest(f"{name}: longer than {length_max}")
    return value


def read_input(name):
    """The bytes of an input file. The folder of the inputs is the program's first argument; a name
    that could lead out of it is refused."""
    if not INPUT_NAME.fullmatch(name):
        raise BadRequest("not the name of an input file")
    try:
        with open(os.path.join(sys.argv[1], name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise BadRequest(f"there is no input file {name}") from None


def respond(handle, line):
    """The response to one line, as bytes with a line end. Keys are sorted and floats are not used by
    handlers, so equal results are equal bytes."""
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise BadRequest("a request is a JSON object")
        response = handle(request)
    except BadRequest as error:
        response = {"error": str(error)}
    except ValueError as error:  # json.loads: not JSON, or not UTF-8.
        response = {"error": f"not a request: {error}"}
    except Exception as error:  # The boundary to the requests: nothing of theirs may end the loop.
        response = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(response, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def requests(device):
    """The lines that are read from the device. A line that is longer than the limit comes as its
    beginning, which is no JSON, and the rest of it is dropped."""
    pending, dropping = b"", False
    while chunk := device.read(READ_BYTES):
        pending += chunk
        if pending.endswith(b"\n"):
            line, pending = pending, b""
            if not dropping:
                yield line
            dropping = False
        elif len(pending) > REQUEST_BYTES_MAX:
            if not dropping:
                yield pending[:64]
            pending, dropping = b"", True


def serve(handle):
    """Answers requests until there is no further one. Unbuffered: the device is read and written in
    turns, and each read should be one call."""
    path = os.environ.get("STASIS_DEVICE", "/dev/stasis")
    with open(path, "r+b", buffering=0) as device:
        for line in requests(device):
            response = memoryview(respond(handle, line))
            while response:
                response = response[device.write(response):]
