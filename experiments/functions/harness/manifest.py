"""functions.json: reads it, checks it, and completes each function with what its runtime adds."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
MANIFEST = FOLDER / "functions.json"

PLACES = re.compile(r"\{(\w+)\}")
KNOWN_PLACES = {"functions", "inputs", "programs"}
NAME = re.compile(r"[a-z][a-z0-9_]*")
SETS = ("a", "b")

RUNTIME_FIELDS = {"language": str, "argv": list, "environment": dict, "packages": list, "reads": list}
FUNCTION_FIELDS = {"name": str, "title": str, "runtime": str, "argv": list, "inputs": str,
                   "packages": list, "reads": list, "source": dict, "memory_mib": int}
SOURCE_FIELDS = {"papers": list, "differs": str}


class ManifestError(Exception):
    """What is wrong with functions.json: one line for each problem."""


@dataclass(frozen=True)
class Function:
    """A value: one function, with all that its runtime adds. argv, environment and reads may contain
    {functions}, {inputs} and {programs}: see in_places()."""

    name: str
    title: str
    language: str
    argv: list
    environment: dict
    reads: list       # Files and folders that it may read; links are resolved first.
    packages: list    # Debian's.
    inputs: str       # The module that makes its inputs, in the folder of the functions.
    source: dict
    memory_mib: int   # At least as much as it has resident at once, natively, with its own inputs.

    def in_places(self, inputs, programs):
        """argv, environment and reads, with the folders filled in."""
        places = {"functions": str(FOLDER), "inputs": str(inputs), "programs": str(programs)}

        def fill(text):
            return PLACES.sub(lambda match: places[match[1]], text)

        return ([fill(word) for word in self.argv],
                {name: fill(value) for name, value in self.environment.items()},
                [fill(path) for path in self.reads])

    def missing(self, programs):
        """What this host lacks to run it, or None."""
        for word in self.in_places("", programs)[0]:
            if word.startswith("/") and not os.path.exists(word) and "{inputs}" not in word:
                return f"{word} is not there (packages: {', '.join(self.packages) or 'none'})"
        for module in self.modules():
            if not any((Path(folder) / module).exists() for folder in PYTHON_FOLDERS):
                return f"Python's {module} is not there (packages: {', '.join(self.packages)})"
        return None

    def modules(self):
        return [MODULES[package] for package in self.packages if package in MODULES]


# Where Debian's packages of Python modules put them, and under which name.
PYTHON_FOLDERS = ("/usr/lib/python3/dist-packages",)
MODULES = {"python3-numpy": "numpy", "python3-pil": "PIL", "python3-chameleon": "chameleon"}


def field_problems(what, entry, fields):
    if not isinstance(entry, dict):
        return [f"{what}: an object is wanted"]
    problems = [f"{what}: unknown field {name}" for name in sorted(set(entry) - set(fields))]
    for name, kind in fields.items():
        if not isinstance(entry.get(name), kind) or isinstance(entry.get(name), bool):
            problems.append(f"{what}: {name}: {kind.__name__} is wanted")
        elif kind is list and not all(isinstance(each, str) for each in entry[name]):
            problems.append(f"{what}: {name}: strings are wanted")
        elif name == "environment" and not all(isinstance(each, str) for each in entry[name].values()):
            problems.append(f"{what}: {name}: strings are wanted")
    return problems


def function_problems(entry, runtimes):
    name = entry.get("name") if isinstance(entry, dict) else None
    what = f"function {name}"
    problems = field_problems(what, entry, FUNCTION_FIELDS)
    if problems:
        return problems
    problems += field_problems(f"{what}: source", entry["source"], SOURCE_FIELDS)
    if not NAME.fullmatch(name):
        problems.append(f"{what}: a name of small letters, digits and _ is wanted")
    if entry["runtime"] not in runtimes:
        problems.append(f"{what}: there is no runtime {entry['runtime']}")
    if not (FOLDER / entry["inputs"]).is_file():
        problems.append(f"{what}: {entry['inputs']} is not there")
    if not 1 <= entry["memory_mib"] <= 4096:
        problems.append(f"{what}: memory_mib: want 1 to 4096")
    for word in entry["argv"] + entry["reads"]:
        problems += [f"{what}: unknown place {{{place}}}" for place in PLACES.findall(word)
                     if place not in KNOWN_PLACES]
        if word.startswith("{functions}/") and not (FOLDER / word.removeprefix("{functions}/")).exists():
            problems.append(f"{what}: {word} is not there")
    return problems


def check(document):
    """All problems of the document."""
    fields = {"version": int, "environment": dict, "runtimes": dict, "functions": list}
    if not isinstance(document, dict) or any(
            not isinstance(document.get(name), kind) for name, kind in fields.items()):
        return [f"want an object with {', '.join(fields)}"]
    problems = [] if document["version"] == 1 else ["version: this program knows version 1"]
    for name, runtime in document["runtimes"].items():
        problems += field_problems(f"runtime {name}", runtime, RUNTIME_FIELDS)
    for entry in document["functions"]:
        problems += function_problems(entry, document["runtimes"])
    names = [entry.get("name") for entry in document["functions"] if isinstance(entry, dict)]
    problems += [f"function {name}: is there twice" for name in sorted(set(names), key=str)
                 if names.count(name) > 1]
    return problems if names else problems + ["there is no function"]


def complete(document):
    """The functions of a document that has no problems."""
    functions = []
    for entry in document["functions"]:
        runtime = document["runtimes"][entry["runtime"]]
        functions.append(Function(
            name=entry["name"], title=entry["title"], language=runtime["language"],
            argv=runtime["argv"] + entry["argv"],
            environment={**document["environment"], **runtime["environment"]},
            reads=runtime["reads"] + entry["reads"], packages=runtime["packages"] + entry["packages"],
            inputs=entry["inputs"], source=entry["source"], memory_mib=entry["memory_mib"]))
    return functions


def load(path=MANIFEST):
    """The functions of the manifest. ManifestError when anything is wrong with it."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: {error}") from None
    problems = check(document)
    if problems:
        raise ManifestError("\n".join(f"{path}: {problem}" for problem in problems))
    return complete(document)
