"""The network's weights, and pictures to classify."""

from pictures import picture, png

# cnn_serving/network.py, which cannot be imported where there is no NumPy; the handler checks the size.
MODEL_BYTES = 9 * (3 * 16 + 16 * 32 + 32 * 64 + 2 * 64 * 64) + 8 * 8 * 64 * 1000


def make(random, corpus):
    del corpus
    files = {"model.bin": random.bytes(MODEL_BYTES)}
    sets = {}
    for name, sizes in {"a": ((320, 240), (256, 256)), "b": ((400, 300), (200, 350))}.items():
        sets[name] = []
        for index, (width, height) in enumerate(sizes):
            file = f"picture-{name}{index}.png"
            files[file] = png(width, height, picture(random, width, height))
            sets[name].append({"picture": file})
    return files, sets
