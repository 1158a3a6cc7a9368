"""Prose with mail addresses, dates and numbers strewn in."""


def strewn(random, corpus, sentences):
    def extra():
        word = corpus.word(random)
        return (f"{word}.{corpus.word(random)}@{word}.example",
                f"+{1 + random.below(99)} 030 {random.below(9000) + 1000}",
                f"20{random.below(90) + 10}-0{1 + random.below(9)}-{10 + random.below(19)}",
                str(random.below(100000) / 100))[random.below(4)]
    return " ".join(f"{corpus.sentence(random, 4 + random.below(9))} {extra()}"
                    for _ in range(sentences)).encode()


def make(random, corpus):
    files, sets = {}, {}
    for name, each in {"a": (600, 1500), "b": (1000, 3000)}.items():
        sets[name] = []
        for index, sentences in enumerate(each):
            file = f"prose-{name}{index}.txt"
            files[file] = strewn(random, corpus, sentences)
            sets[name].append({"file": file})
    return files, sets
