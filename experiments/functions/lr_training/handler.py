"""REAP's lr_training (FunctionBench "model_training"): train a logistic regression on reviews.

Differs: plain Python with hashed words and stochastic gradient descent instead of scikit-learn's TF-IDF
and solver, on fewer reviews: about a quarter of a second instead of five."""

import math
import re
import zlib

from stasis_digest import digest
from stasis_function import BadRequest, integer, read_input, serve, text

WORD = re.compile(rb"[a-z]+")
FEATURES = 1 << 14
RATE = 0.5


def features(review):
    """The review as pairs of a feature and its share: words and pairs of neighbours, hashed."""
    words = WORD.findall(review.lower())
    counts = {}
    for item in words + [left + b" " + right for left, right in zip(words, words[1:])]:
        slot = zlib.crc32(item) % FEATURES
        counts[slot] = counts.get(slot, 0) + 1
    norm = math.sqrt(sum(count * count for count in counts.values())) or 1.0
    return [(slot, count / norm) for slot, count in counts.items()]


def load(data):
    """The label (0 or 1) and the features of each line."""
    examples = []
    for line in data.splitlines():
        label, tab, review = line.partition(b"\t")
        if label not in (b"0", b"1") or not tab:
            raise BadRequest("each line of the data is 0 or 1, a tab, and a review")
        examples.append((int(label), features(review)))
    return examples


def probability(weights, example):
    score = sum(weights[slot] * share for slot, share in example)
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score))))


def train(examples, rounds):
    weights = [0.0] * FEATURES
    for _ in range(rounds):
        for label, example in examples:
            step = RATE * (label - probability(weights, example))
            for slot, share in example:
                weights[slot] += step * share
    return weights


def handle(request):
    examples = load(read_input(text(request, "reviews", 64)))
    weights = train(examples, integer(request, "rounds", 1, 50))
    right = sum((probability(weights, example) > 0.5) == (label == 1) for label, example in examples)
    # Six digits: the last bits of exp() may differ between two processors.
    rounded = " ".join(f"{weight + 0.0:.6f}" for weight in weights)
    return {"reviews": len(examples), "right": right, "sha256": digest(rounded)}


if __name__ == "__main__":
    serve(handle)
