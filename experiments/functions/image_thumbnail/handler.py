"""FunctionBench's image_processing, its thumbnail: open a picture, reduce it to fit a square, soften,
sharpen and grey it, and encode the results as PNG and JPEG.

Differs: the picture is a PNG beside the function, and the results stay in memory."""

import io

from PIL import Image, ImageFilter

from stasis_digest import digest
from stasis_function import BadRequest, integer, read_input, serve, text

Image.init()


def encode(picture, kind):
    encoded = io.BytesIO()
    picture.save(encoded, kind)
    return encoded.getvalue()


def handle(request):
    edge = integer(request, "edge", 8, 1024)
    try:
        picture = Image.open(io.BytesIO(read_input(text(request, "picture", 64)))).convert("RGB")
    except OSError:
        raise BadRequest("the input is not a picture") from None
    picture.thumbnail((edge, edge), Image.Resampling.BICUBIC)
    variants = {"plain": picture, "blurred": picture.filter(ImageFilter.BLUR),
                "sharp": picture.filter(ImageFilter.SHARPEN), "grey": picture.convert("L")}
    return {"width": picture.width, "height": picture.height,
            "pixels": {name: digest(variant.tobytes()) for name, variant in variants.items()},
            "encoded": digest(*(encode(variant, kind) for variant in variants.values()
                                for kind in ("PNG", "JPEG")))}


if __name__ == "__main__":
    serve(handle)
