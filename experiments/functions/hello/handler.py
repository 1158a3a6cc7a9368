"""REAP's helloworld (ASPLOS'21, section 6.1) and FaaSnap's hello: the least that a Python function does.

Differs: no gRPC or HTTP server around it, so its working set lacks their share."""

from stasis_function import serve, text


def handle(request):
    return {"text": f"Hello, {text(request, 'name', 64)}!"}


if __name__ == "__main__":
    serve(handle)
