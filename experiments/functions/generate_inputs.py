#!/usr/bin/env python3
"""Makes the inputs of the functions: the same bytes on every machine, under every version of Python."""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # The folder of the functions is read by guests, and stays as it is.
sys.path.insert(0, str(Path(__file__).resolve().parent / "harness"))

import input_files  # noqa: E402  # The path above is what finds it.
import manifest     # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog="FOLDER/NAME/ gets the files of the "
                                     "function NAME, and its requests to record (a.jsonl) and to test "
                                     "(b.jsonl). What is there already is not written again.")
    parser.add_argument("--out", metavar="FOLDER", required=True)
    parser.add_argument("names", metavar="NAME", nargs="*", help="functions (default: all)")
    arguments = parser.parse_args()
    try:
        functions = manifest.load()
    except manifest.ManifestError as error:
        sys.exit(f"generate_inputs: {error}")
    unknown = set(arguments.names) - {function.name for function in functions}
    if unknown:
        sys.exit(f"generate_inputs: there is no function {', '.join(sorted(unknown))}; "
                 "see the program list")
    for function in functions:
        if not arguments.names or function.name in arguments.names:
            folder = input_files.write(function, arguments.out)
            size = sum(path.stat().st_size for path in folder.iterdir())
            print(f"{folder}: {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
