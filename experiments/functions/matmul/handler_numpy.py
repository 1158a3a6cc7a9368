"""FunctionBench's and FaaSnap's matmul with NumPy: the product of two n by n matrices of doubles.

Differs: n is FaaSnap's smallest and below (Debian's reference BLAS is slower than a tuned one), and the
entries are small integers: sums of their products are below 2^53 and so exact, and the result does not
depend on the BLAS library, its threads, or the processor's vector registers."""

import hashlib

import numpy

from stasis_digest import digest
from stasis_function import integer, serve

ENTRY_BOUND = 1000


def matrix(n, seed, name):
    raw = hashlib.shake_256(f"{name} {seed}".encode()).digest(2 * n * n)
    entries = numpy.frombuffer(raw, dtype="<u2") % ENTRY_BOUND
    return entries.astype(numpy.float64).reshape(n, n)


def handle(request):
    n = integer(request, "n", 1, 2000)
    seed = integer(request, "seed", 0, 2**32)
    product = numpy.matmul(matrix(n, seed, "left"), matrix(n, seed, "right"))
    exact = product.astype("<i8")
    return {"n": n, "trace": int(exact.trace()), "sha256": digest(exact.tobytes())}


if __name__ == "__main__":
    serve(handle)
