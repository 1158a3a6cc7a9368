"""Films: a picture that moves by some pixels from frame to frame."""

from pictures import picture, shifted

WIDTH, HEIGHT = 240, 180


def film(random, frames):
    still = picture(random, WIDTH, HEIGHT)
    header = b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT)
    return b"".join(header + shifted(still, WIDTH, 3 * frame, 2 * frame) for frame in range(frames))


def make(random, corpus):
    del corpus
    return {"film-a.ppm": film(random, 16), "film-b.ppm": film(random, 24)}, {
        "a": [{"film": "film-a.ppm"}], "b": [{"film": "film-b.ppm"}]}
