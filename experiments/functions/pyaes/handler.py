"""REAP's and FaaSnap's pyaes (FunctionBench): encrypt and decrypt a message with AES-128 in counter
mode, in pure Python.

Differs: an implementation of our own instead of the package pyaes, and a message that follows from a
seed. With "key", "counter" and "message" in hexadecimal it encrypts just that."""

import random

from aes import apply_counter_mode
from stasis_digest import digest
from stasis_function import BadRequest, integer, serve, text

LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"


def from_hexadecimal(request, name, length_max):
    try:
        return bytes.fromhex(text(request, name, 2 * length_max))
    except ValueError:
        raise BadRequest(f"{name}: hexadecimal digits are wanted") from None


def encrypt_given(request):
    key = from_hexadecimal(request, "key", 16)
    counter = from_hexadecimal(request, "counter", 16)
    if len(key) != 16 or len(counter) != 16:
        raise BadRequest("key and counter are of 16 bytes each")
    message = from_hexadecimal(request, "message", 256)
    result = apply_counter_mode(key, int.from_bytes(counter, "big"), message)
    return {"ciphertext": result.hex()}


def handle(request):
    if "key" in request:
        return encrypt_given(request)
    length = integer(request, "length", 1, 1 << 20)
    generator = random.Random(integer(request, "seed", 0, 2**32))
    message = bytes(LETTERS[int(generator.random() * 36)] for _ in range(length))
    key = bytes(int(generator.random() * 256) for _ in range(16))
    ciphertext = apply_counter_mode(key, 1, message)
    if apply_counter_mode(key, 1, ciphertext) != message:
        raise ArithmeticError("decryption does not undo encryption")
    return {"length": length, "sha256": digest(ciphertext)}


if __name__ == "__main__":
    serve(handle)
