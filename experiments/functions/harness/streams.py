"""Numbers and bytes that follow from a name alone, on every machine and under every version of Python:
the inputs of the functions are made of them."""

import hashlib


class Stream:
    """SHAKE-256 of the name, read as a stream. Value-like: two of one name give the same numbers."""

    CHUNK_BYTES = 4096

    def __init__(self, name):
        self._name = name
        self._chunks = 0
        self._buffer = b""

    def bytes(self, count):
        """The next bytes. Large amounts come from a stream of their own, which is much faster."""
        if count > self.CHUNK_BYTES:
            nested = f"{self._name}/{self.below(1 << 32)}"
            return hashlib.shake_256(nested.encode()).digest(count)
        if count > len(self._buffer):
            label = f"{self._name}#{self._chunks}"
            self._buffer += hashlib.shake_256(label.encode()).digest(self.CHUNK_BYTES)
            self._chunks += 1
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def below(self, bound):
        """A number of 0 to bound - 1. Of 64 bits: for bounds of at most 2^32 the numbers are as good
        as equally likely."""
        return int.from_bytes(self.bytes(8), "little") % bound
