"""FaaSnap's mmap: map anonymous memory, write one byte to each page, unmap it. It shows what a fresh
page costs after a restore.

Differs: FaaSnap's 512 MiB are for the request to say, and every byte is read back."""

import mmap

from stasis_function import integer, serve

PAGE_BYTES = 4096


def handle(request):
    length = integer(request, "mib", 1, 1024) << 20
    with mmap.mmap(-1, length) as memory:
        for at in range(0, length, PAGE_BYTES):
            memory[at] = at // PAGE_BYTES % 251 + 1
        sample = memory[::PAGE_BYTES]
        clean = memory[1::PAGE_BYTES].count(0)
    return {"pages": len(sample), "sum": sum(sample), "clean": clean}


if __name__ == "__main__":
    serve(handle)
