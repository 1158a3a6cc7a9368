"""Makes the inputs of a function: files, and a list of requests for each set."""

import importlib.util
import json
import os
from pathlib import Path

from corpus import Corpus
from manifest import FOLDER, SETS
from streams import Stream


def make(function):
    """The files by name, and the requests by set: set -> list of lines (bytes with their line end)."""
    specification = importlib.util.spec_from_file_location("function_inputs", FOLDER / function.inputs)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    files, sets = module.make(Stream(function.inputs), Corpus())
    if set(sets) != set(SETS) or not all(sets.values()):
        raise ValueError(f"{function.inputs}: want requests for the sets {' and '.join(SETS)}")
    lines = {name: [json.dumps(request).encode() + b"\n" for request in requests]
             for name, requests in sets.items()}
    return files, lines


def write(function, folder):
    """Writes the inputs to folder/NAME/ and returns that folder. A file that is already as it should be
    is left alone, so that its time of change stays too."""
    files, sets = make(function)
    files = dict(files, **{f"{name}.jsonl": b"".join(lines) for name, lines in sets.items()})
    target = Path(folder) / function.name
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = target / name
        if path.is_file() and path.read_bytes() == data:
            continue
        temporary = target / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(path)
    return target


def requests(inputs, name):
    """The lines of a set in a folder that write() made."""
    return (Path(inputs) / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
