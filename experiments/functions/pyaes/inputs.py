"""FaaSnap's lengths: 20000 to record, 22000 to test; and one of its sweep (5000 to 80000) each."""


def make(random, corpus):
    del corpus
    lengths = {"a": (20000, 5000), "b": (22000, 40000)}
    return {}, {name: [{"length": length, "seed": random.below(2**32)} for length in each]
                for name, each in lengths.items()}
