"""REAP's cnn_serving and FaaSnap's recognition: classify a picture with a convolutional network whose
weights are loaded before the first request.

Differs much: the papers use SqueezeNet on MXNet and ResNet-50 on PyTorch with trained weights. Debian
has no MXNet, and PyTorch takes 600 MB there with what it needs. This is a network of six layers in
NumPy with random weights, so its classes mean nothing, and its memory is smaller. The shape of the work
is the same: decode, resize, multiply by weights that were loaded when warm."""

import io

import numpy
from PIL import Image

import network
from stasis_digest import digest
from stasis_function import BadRequest, read_input, serve, text

Image.init()


def handle_with(weights, request):
    try:
        picture = Image.open(io.BytesIO(read_input(text(request, "picture", 64)))).convert("RGB")
    except OSError:
        raise BadRequest("the input is not a picture") from None
    small = picture.resize((network.EDGE, network.EDGE), Image.Resampling.BILINEAR)
    scores = network.classify(weights, numpy.asarray(small))
    best = numpy.argsort(-scores, kind="stable")[:5]
    return {"best": [int(each) for each in best], "sha256": digest(scores.tobytes())}


if __name__ == "__main__":
    WEIGHTS = network.load_weights(read_input("model.bin"))
    serve(lambda request: handle_with(WEIGHTS, request))
