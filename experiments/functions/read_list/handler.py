"""FaaSnap's read-list: a large list is made before the first request, and a request reads one element
of each page of it.

Differs: 64 MiB of list instead of 512 MB (STASIS_LIST_MIB says otherwise), and its elements are few
objects that the list's pages point to."""

import os

from stasis_function import BadRequest, integer, serve

ELEMENTS_PER_PAGE = 4096 // 8

LENGTH = int(os.environ.get("STASIS_LIST_MIB", "64")) * 256 * ELEMENTS_PER_PAGE
LIST = list(range(251)) * (LENGTH // 251 + 1)


def handle(request):
    first = integer(request, "first", 0, ELEMENTS_PER_PAGE - 1)
    stride = integer(request, "stride", 1, 1 << 20)
    if stride % ELEMENTS_PER_PAGE and ELEMENTS_PER_PAGE % stride:
        raise BadRequest("stride: a whole number of pages, or a part that fits a page")
    total = 0
    for at in range(first, len(LIST), stride):
        total += LIST[at]
    return {"read": len(range(first, len(LIST), stride)), "sum": total}


if __name__ == "__main__":
    serve(handle)
