"""Pictures to reduce, each to its own size."""

from pictures import picture, png


def make(random, corpus):
    del corpus
    sizes = {"a": ((640, 480, 128), (600, 800, 200)), "b": ((1024, 768, 128), (900, 500, 300))}
    files, sets = {}, {}
    for name, each in sizes.items():
        sets[name] = []
        for index, (width, height, edge) in enumerate(each):
            file = f"picture-{name}{index}.png"
            files[file] = png(width, height, picture(random, width, height))
            sets[name].append({"picture": file, "edge": edge})
    return files, sets
