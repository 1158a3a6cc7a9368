"""Text, which compresses to about a third, and a mix with noise, which hardly does."""


def make(random, corpus):
    files = {"text-a.txt": corpus.document(random, 400_000),
             "text-b.txt": corpus.document(random, 900_000)}
    for name, size in (("a", 150_000), ("b", 250_000)):
        prose = corpus.document(random, size)
        files[f"mixed-{name}.bin"] = random.bytes(size) + prose
    return files, {
        "a": [{"file": "text-a.txt", "level": 6}, {"file": "mixed-a.bin", "level": 1}],
        "b": [{"file": "text-b.txt", "level": 6}, {"file": "mixed-b.bin", "level": 9}]}
