"""FunctionBench's and FaaSnap's matmul, in pure Python: the product of two n by n matrices.

Differs: lists of Python's floats, not NumPy arrays (that is matmul_numpy), with n to match, and entries
that are small integers, so that the product is exact in whatever order it is summed."""

import random

from stasis_digest import digest
from stasis_function import integer, serve

ENTRY_BOUND = 1000


def matrix(n, generator):
    return [[float(int(generator.random() * ENTRY_BOUND)) for _ in range(n)] for _ in range(n)]


def multiply(left, right):
    columns = list(zip(*right))
    return [[sum(map(float.__mul__, row, column)) for column in columns] for row in left]


def handle(request):
    n = integer(request, "n", 1, 400)
    generator = random.Random(integer(request, "seed", 0, 2**32))
    product = multiply(matrix(n, generator), matrix(n, generator))
    trace = sum(int(product[i][i]) for i in range(n))
    rows = (" ".join(str(int(entry)) for entry in row) for row in product)
    return {"n": n, "trace": trace, "sha256": digest(*rows)}


if __name__ == "__main__":
    serve(handle)
