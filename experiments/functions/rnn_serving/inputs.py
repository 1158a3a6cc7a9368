"""The network's weights, and what the names begin with."""

MODEL_BYTES = 256 * (256 + 2 * 26)  # rnn_serving/handler.py checks it.


def make(random, corpus):
    del corpus

    def request(first, names):
        return {"first": first, "names": names, "length": 6 + random.below(8),
                "seed": random.below(2**32)}

    return {"model.bin": random.bytes(MODEL_BYTES)}, {
        "a": [request("a", 10), request("m", 20)], "b": [request("s", 15), request("z", 30)]}
