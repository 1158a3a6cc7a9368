"""Reviews with labels. Some words occur more in good ones, so that there is something to learn."""


def reviews(random, corpus, count):
    lines = []
    for _ in range(count):
        good = random.below(2)
        words = corpus.sentence(random, 20 + random.below(20)).split()
        for at in range(0, len(words), 6):
            words[at] = corpus.vocabulary[200 + 2 * random.below(40) + good]
        lines.append(f"{good}\t{' '.join(words)}")
    return ("\n".join(lines) + "\n").encode()


def make(random, corpus):
    return {"reviews-a.tsv": reviews(random, corpus, 600), "reviews-b.tsv": reviews(random, corpus, 800)}, {
        "a": [{"reviews": "reviews-a.tsv", "rounds": 20}], "b": [{"reviews": "reviews-b.tsv", "rounds": 20}]}
