"""A model of the corpus's words, and reviews to judge: A's and B's share the common words, as reviews
do, and differ in the rare ones."""


def make(random, corpus):
    lines = ["\t0.125000"]
    lines += [f"{word}\t{(random.below(4_000_001) - 2_000_000) / 1e6:.6f}" for word in corpus.vocabulary]

    def request(count):
        return {"texts": [corpus.sentence(random, 10 + random.below(40)) for _ in range(count)]}

    return {"model.tsv": ("\n".join(lines) + "\n").encode()}, {
        "a": [request(1), request(4)], "b": [request(2), request(1), request(3)]}
