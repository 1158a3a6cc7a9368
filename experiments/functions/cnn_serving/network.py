"""A small convolutional network in NumPy, in whole numbers: weights of -127 to 127, activations of 0 to
127. They are stored as floating-point numbers, which the fast multiplications take, and every sum stays
below the largest whole number that its type holds exactly (2^24, 2^53): the result is exact, in whatever
order a library sums."""

import numpy

EDGE = 128  # Of the picture.
CLASSES = 1000
# Channels in, channels out, step: 3 by 3 convolutions. 9 * 64 * 127 * 127 < 2^24.
LAYERS = ((3, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1), (64, 64, 1))
POOLED = EDGE // 8 // 2
SHIFTS = (8, 9, 9, 10, 10)  # Keep the activations of random weights between nothing and saturation.

MODEL_BYTES = sum(9 * inside * outside for inside, outside, _ in LAYERS) + POOLED**2 * 64 * CLASSES


def load_weights(raw):
    """The weights of the layers and of the last, full one, from a file of signed bytes."""
    if len(raw) != MODEL_BYTES:
        raise ValueError(f"a model has {MODEL_BYTES} bytes, not {len(raw)}")
    values = numpy.maximum(numpy.frombuffer(raw, dtype=numpy.int8), -127)
    convolutions, at = [], 0
    for inside, outside, _ in LAYERS:
        size = 9 * inside * outside
        convolutions.append(values[at:at + size].reshape(9 * inside, outside).astype(numpy.float32))
        at += size
    return convolutions, values[at:].reshape(-1, CLASSES).astype(numpy.float64)


def convolve(activations, weights, step):
    """Rows by columns by channels in, the same out, with a border of zeros."""
    rows, columns, channels = activations.shape
    padded = numpy.zeros((rows + 2, columns + 2, channels), dtype=numpy.float32)
    padded[1:-1, 1:-1] = activations
    views = [padded[y:y + rows:step, x:x + columns:step] for y in range(3) for x in range(3)]
    patches = numpy.concatenate(views, axis=2)
    return numpy.matmul(patches.reshape(-1, 9 * channels), weights).reshape(
        patches.shape[0], patches.shape[1], -1)


def classify(weights, pixels):
    """The score of each class for a picture of EDGE by EDGE by 3 bytes."""
    convolutions, full = weights
    activations = (pixels >> 1).astype(numpy.float32)
    for layer, (_, _, step), shift in zip(convolutions, LAYERS, SHIFTS):
        sums = convolve(activations, layer, step)
        activations = numpy.clip(numpy.floor(sums / (1 << shift)), 0, 127)
    rows, columns, channels = activations.shape
    blocks = activations.reshape(rows // 2, 2, columns // 2, 2, channels)
    return numpy.matmul(blocks.max(axis=(1, 3)).reshape(-1).astype(numpy.float64), full).astype("<i8")
