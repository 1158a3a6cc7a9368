"""Sizes for NumPy; 500 is the smallest of FaaSnap's sweep (500, 700, 1000, 1000, 1400, 2000)."""


def make(random, corpus):
    del corpus
    return {}, {"a": [{"n": 300, "seed": random.below(2**32)}, {"n": 500, "seed": random.below(2**32)}],
                "b": [{"n": 400, "seed": random.below(2**32)}, {"n": 600, "seed": random.below(2**32)}]}
