"""REAP's lr_serving (FunctionBench "ml_lr_prediction"): is a review good or bad, by logistic
regression over its words. The model is loaded before the first request.

Differs: the model is a table of words and weights instead of scikit-learn's pickled objects, read in
plain Python, and a request brings several reviews."""

import math
import re

from stasis_function import BadRequest, read_input, serve

WORD = re.compile(rb"[a-z]+")
TEXTS_MAX, TEXT_BYTES_MAX = 64, 10000


def load_model():
    """The weight of each word; that of "" is the bias."""
    lines = read_input("model.tsv").decode().splitlines()
    return {word.encode(): float(weight) for word, weight in (line.split("\t") for line in lines)}


def predict(model, review):
    """How many words the model knows, and the probability that the review is a good one."""
    score, known = 0.0, 0
    for word in WORD.findall(review.lower()):  # Of bytes: lower() changes ASCII letters alone.
        weight = model.get(word)
        if weight is not None:
            score += weight
            known += 1
    score = model[b""] + score / math.sqrt(max(1, known))
    return known, 1.0 / (1.0 + math.exp(-score))


def handle_with(model, request):
    texts = request.get("texts")
    if not isinstance(texts, list) or not 1 <= len(texts) <= TEXTS_MAX:
        raise BadRequest(f"texts: a list of 1 to {TEXTS_MAX} is wanted")
    if any(not isinstance(text, str) or len(text.encode()) > TEXT_BYTES_MAX for text in texts):
        raise BadRequest(f"texts: each is a string of at most {TEXT_BYTES_MAX} bytes")
    results = []
    for text in texts:
        known, probability = predict(model, text.encode())
        # Six digits: the last bits of exp() may differ between two processors.
        results.append({"good": f"{probability:.6f}", "known": known})
    return {"reviews": results}


if __name__ == "__main__":
    MODEL = load_model()
    serve(lambda request: handle_with(MODEL, request))
