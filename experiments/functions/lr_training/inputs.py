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
    counts = {"a": 600, "b": 800}
    files = {f"reviews-{name}.tsv": reviews(random, corpus, count) for name, count in counts.items()}
    return files, {name: [{"reviews": f"reviews-{name}.tsv", "rounds": 20}] for name in counts}
