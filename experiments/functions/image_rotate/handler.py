"""REAP's image_rotate and FaaSnap's image (FunctionBench "image_processing", its rotations): open a
picture, rotate it by 90, 180 and 270 degrees, and encode each as JPEG.

Differs: the picture is a PNG beside the function, not a JPEG in a store, and the results stay in
memory."""

import io

from PIL import Image

from stasis_digest import digest
from stasis_function import BadRequest, read_input, serve, text

TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)

Image.init()  # Loads the formats' modules, which Pillow would else do at the first picture.


def handle(request):
    try:
        picture = Image.open(io.BytesIO(read_input(text(request, "picture", 64)))).convert("RGB")
    except OSError:
        raise BadRequest("the input is not a picture") from None
    results = []
    for turn in TURNS:
        rotated = picture.transpose(turn)
        encoded = io.BytesIO()
        rotated.save(encoded, "JPEG", quality=75)
        results.append({"width": rotated.width, "height": rotated.height,
                        "pixels": digest(rotated.tobytes()), "jpeg": digest(encoded.getvalue())})
    return {"rotated": results}


if __name__ == "__main__":
    serve(handle)
