"""One short text that stands for a result, so that responses are small and equality means something.

Apart from stasis_function.py because hashlib loads OpenSSL, which the smallest functions do without."""

import hashlib


def digest(*parts):
    """SHA-256 over the parts (bytes or str), each preceded by its length: ("ab", "c") and ("a", "bc")
    differ."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()
