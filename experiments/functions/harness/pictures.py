"""Pictures with areas, edges and noise, and PNG files of them that no library's version changes."""

import struct
import zlib

NOISE = bytes(byte & 15 for byte in range(256))
BLOCK_BYTES_MAX = 65535  # RFC 1951, section 3.2.4: the length of a stored block has 16 bits.


def picture(random, width, height):
    """Rows of RGB. Soft slopes with rectangles on them, and noise of 4 bits on all."""
    slope = bytes(value for x in range(width)
                  for value in (40 + 160 * x // width, 200 - 120 * x // width, 60 + x % 100))
    rectangles = [(random.below(width), random.below(height), 1 + random.below(width // 2),
                   1 + random.below(height // 2), bytes(random.below(240) for _ in range(3)))
                  for _ in range(12)]
    noise = random.bytes(3 * width * height).translate(NOISE)
    rows = []
    for y in range(height):
        row = bytearray(slope)
        for left, top, wide, high, colour in rectangles:
            if top <= y < top + high:
                stop = min(width, left + wide)
                row[3 * left:3 * stop] = colour * (stop - left)
        # No byte of the row is above 240: the sum of the two numbers has no carry between bytes.
        grain = noise[3 * width * y:3 * width * (y + 1)]
        mixed = int.from_bytes(row, "little") + int.from_bytes(grain, "little")
        rows.append(mixed.to_bytes(3 * width, "little"))
    return b"".join(rows)


def shifted(pixels, width, right, down):
    """The picture moved, with what leaves at one side coming back at the other."""
    stride = 3 * width
    rows = [pixels[at:at + stride] for at in range(0, len(pixels), stride)]
    down %= len(rows)
    cut = stride - 3 * (right % width)
    return b"".join(row[cut:] + row[:cut] for row in rows[-down:] + rows[:-down])


def png(width, height, pixels):
    """A PNG (RFC 2083) of RGB pixels, stored uncompressed: its bytes follow from the pixels alone."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    stride = 3 * width
    raw = b"".join(b"\0" + pixels[at:at + stride] for at in range(0, len(pixels), stride))
    blocks = [raw[at:at + BLOCK_BYTES_MAX] for at in range(0, len(raw), BLOCK_BYTES_MAX)]
    stored = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for index, block in enumerate(blocks))
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))  # RFC 1950.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
