"""So many numbers to sort."""


def make(random, corpus):
    del corpus
    counts = {"a": (50000, 200000), "b": (100000, 400000)}
    return {}, {name: [{"n": count, "seed": random.below(2**32)} for count in each]
                for name, each in counts.items()}
