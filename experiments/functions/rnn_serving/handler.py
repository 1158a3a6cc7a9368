"""REAP's rnn_serving (FunctionBench "rnn_generate_character_level"): make up names, letter by letter,
with a recurrent network whose weights are loaded before the first request.

Differs: NumPy instead of PyTorch, random weights instead of trained ones, and whole numbers throughout,
which floating-point numbers of 53 bits hold exactly: a name does not depend on the order of a sum."""

import random

import numpy

from stasis_digest import digest
from stasis_function import BadRequest, integer, read_input, serve, text

LETTERS = "abcdefghijklmnopqrstuvwxyz"
STATE = 256
MODEL_BYTES = STATE * (STATE + 2 * len(LETTERS))
STATE_MAX, SHIFT = 127, 9


def load_weights(raw):
    """Letter to state, state to state, state to letter."""
    if len(raw) != MODEL_BYTES:
        raise ValueError(f"a model has {MODEL_BYTES} bytes, not {len(raw)}")
    values = numpy.frombuffer(raw, dtype=numpy.int8).astype(numpy.float64)
    inward, across = STATE * len(LETTERS), STATE * STATE
    return (values[:inward].reshape(len(LETTERS), STATE),
            values[inward:inward + across].reshape(STATE, STATE),
            values[inward + across:].reshape(STATE, len(LETTERS)))


def invent(weights, first, length, generator):
    """A name of that length, and the state at its end."""
    inward, across, outward = weights
    state = numpy.zeros(STATE)
    name = [first]
    while len(name) < length:
        sums = inward[name[-1]] * 64 + numpy.matmul(state, across)
        state = numpy.clip(numpy.floor(sums / (1 << SHIFT)), -STATE_MAX, STATE_MAX)
        likely = numpy.argsort(-numpy.matmul(state, outward), kind="stable")[:3]
        name.append(int(likely[int(generator.random() * 3)]))
    return "".join(LETTERS[letter] for letter in name), state


def handle_with(weights, request):
    first = LETTERS.find(text(request, "first", 1))
    if first < 0 or not request["first"]:
        raise BadRequest("first: a letter from a to z is wanted")
    length = integer(request, "length", 1, 64)
    generator = random.Random(integer(request, "seed", 0, 2**32))
    made = [invent(weights, first, length, generator) for _ in range(integer(request, "names", 1, 100))]
    return {"first": made[0][0], "last": made[-1][0],
            "sha256": digest(*(name for name, _ in made),
                             *(state.astype("<i8").tobytes() for _, state in made))}


if __name__ == "__main__":
    WEIGHTS = load_weights(read_input("model.bin"))
    serve(lambda request: handle_with(WEIGHTS, request))
