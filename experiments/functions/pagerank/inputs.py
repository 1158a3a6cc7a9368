"""A tenth of FaaSnap's sizes and less: it records 90000 nodes and tests 100000 in igraph's C."""


def make(random, corpus):
    del corpus
    nodes = {"a": (2000, 4500), "b": (3000, 5000)}
    return {}, {name: [{"nodes": count, "rounds": 10, "seed": random.below(2**32)} for count in each]
                for name, each in nodes.items()}
