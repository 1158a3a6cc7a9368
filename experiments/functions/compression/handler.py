"""FaaSnap's compression and FunctionBench's gzip_compression: compress a file, and check that it comes
back.

Differs: gzip in memory, not a zip archive in a folder."""

import gzip
import zlib

from stasis_digest import digest
from stasis_function import integer, read_input, serve, text


def handle(request):
    data = read_input(text(request, "file", 64))
    level = integer(request, "level", 1, 9)
    compressed = gzip.compress(data, level, mtime=0)  # The time of day would be in the header.
    restored = gzip.decompress(compressed)
    if restored != data:
        raise ArithmeticError("decompression does not undo compression")
    return {"bytes": len(data), "compressed": len(compressed), "crc32": zlib.crc32(restored),
            "sha256": digest(compressed)}


if __name__ == "__main__":
    serve(handle)
