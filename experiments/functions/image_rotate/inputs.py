"""Pictures of several sizes; B's are larger, as in FaaSnap's experiment with two inputs."""

from pictures import picture, png


def make(random, corpus):
    del corpus
    sizes = {"a": ((480, 320), (640, 480)), "b": ((800, 600), (1024, 768))}
    files, sets = {}, {}
    for name, each in sizes.items():
        sets[name] = []
        for index, (width, height) in enumerate(each):
            file = f"picture-{name}{index}.png"
            files[file] = png(width, height, picture(random, width, height))
            sets[name].append({"picture": file})
    return files, sets
