"""The two sizes of matrices for each set, B's larger: FaaSnap records n=1100 and tests n=1200."""


def make(random, corpus):
    del corpus
    return {}, {"a": [{"n": 70, "seed": random.below(2**32)}, {"n": 90, "seed": random.below(2**32)}],
                "b": [{"n": 80, "seed": random.below(2**32)}, {"n": 110, "seed": random.below(2**32)}]}
