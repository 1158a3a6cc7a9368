"""REAP's video_processing (FunctionBench's, which greys a film): grey each frame, mark what moved since
the frame before, and encode the frames again.

Differs: the papers use OpenCV or ffmpeg on H.264 films; OpenCV takes 420 MB in Debian with what it
needs. Here the frames come uncompressed and leave as JPEGs, by Pillow."""

import io

from PIL import Image, ImageChops, ImageStat

from stasis_digest import digest
from stasis_function import BadRequest, read_input, serve, text

Image.init()


def frames(film):
    """The pictures of a file of P6 pictures (netpbm), one after the other, with no comments in them."""
    while film:
        try:
            frame = Image.open(io.BytesIO(film))
            frame.load()
        except (OSError, ValueError):
            raise BadRequest("the input is not a film") from None
        yield frame
        film = film[len(b"P6\n%d %d\n255\n" % frame.size) + 3 * frame.width * frame.height:]


def handle(request):
    encoded, moved, before = [], 0, None
    for frame in frames(memoryview(read_input(text(request, "film", 64)))):
        grey = frame.convert("L")
        if before is not None:
            moved += int(ImageStat.Stat(ImageChops.difference(grey, before)).sum[0])
        output = io.BytesIO()
        grey.save(output, "JPEG", quality=80)
        encoded.append(output.getvalue())
        before = grey
    return {"frames": len(encoded), "moved": moved, "bytes": sum(map(len, encoded)),
            "sha256": digest(*encoded)}


if __name__ == "__main__":
    serve(handle)
