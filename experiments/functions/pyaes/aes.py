"""AES-128 (FIPS 197) in counter mode (NIST SP 800-38A), in Python alone and in tables, as a program
would have it that cannot install a library. Not for secrets: it takes no care about timing."""


def _make_tables():
    """The S-box and the four tables that join SubBytes, ShiftRows and MixColumns."""
    powers, logarithms = [0] * 256, [0] * 256
    value = 1
    for exponent in range(255):  # 3 generates the multiplicative group of GF(2^8).
        powers[exponent], logarithms[value] = value, exponent
        value ^= value << 1 ^ (0x11B if value & 0x80 else 0)
    box = [0] * 256
    for byte in range(256):
        inverse = powers[(255 - logarithms[byte]) % 255] if byte else 0
        box[byte] = 0x63
        for shift in range(5):
            box[byte] ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
    first = []
    for byte in range(256):
        once = box[byte]
        twice = once << 1 ^ (0x11B if once & 0x80 else 0)
        first.append(twice << 24 | once << 16 | once << 8 | twice ^ once)
    tables = [first]
    for _ in range(3):
        tables.append([word >> 8 | (word & 0xFF) << 24 for word in tables[-1]])
    return box, tables


BOX, (T0, T1, T2, T3) = _make_tables()


def expand_key(key):
    """The 44 round-key words of a key of 16 bytes (FIPS 197, section 5.2)."""
    words = [int.from_bytes(key[at:at + 4], "big") for at in range(0, 16, 4)]
    constant = 1
    while len(words) < 44:
        word = words[-1]
        if len(words) % 4 == 0:
            word = (word << 8 | word >> 24) & 0xFFFFFFFF
            word = (BOX[word >> 24] << 24 | BOX[word >> 16 & 255] << 16 | BOX[word >> 8 & 255] << 8
                    | BOX[word & 255]) ^ constant << 24
            constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        words.append(words[-4] ^ word)
    return words


def encrypt_block(words, block):
    """One block, as an integer of 128 bits, under the round keys."""
    a = block >> 96 ^ words[0]
    b = (block >> 64 & 0xFFFFFFFF) ^ words[1]
    c = (block >> 32 & 0xFFFFFFFF) ^ words[2]
    d = (block & 0xFFFFFFFF) ^ words[3]
    for at in range(4, 40, 4):
        a, b, c, d = (
            T0[a >> 24] ^ T1[b >> 16 & 255] ^ T2[c >> 8 & 255] ^ T3[d & 255] ^ words[at],
            T0[b >> 24] ^ T1[c >> 16 & 255] ^ T2[d >> 8 & 255] ^ T3[a & 255] ^ words[at + 1],
            T0[c >> 24] ^ T1[d >> 16 & 255] ^ T2[a >> 8 & 255] ^ T3[b & 255] ^ words[at + 2],
            T0[d >> 24] ^ T1[a >> 16 & 255] ^ T2[b >> 8 & 255] ^ T3[c & 255] ^ words[at + 3])
    result = 0
    for at, (p, q, r, s) in enumerate(((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))):
        word = (BOX[p >> 24] << 24 | BOX[q >> 16 & 255] << 16 | BOX[r >> 8 & 255] << 8
                | BOX[s & 255])
        result = result << 32 | word ^ words[40 + at]
    return result


def apply_counter_mode(key, counter, data):
    """Encrypts or decrypts, which is the same: xor with the encryptions of counter, counter + 1, ..."""
    words = expand_key(key)
    blocks = []
    for at in range(0, len(data), 16):
        blocks.append(encrypt_block(words, counter).to_bytes(16, "big"))
        counter = (counter + 1) % (1 << 128)
    stream = b"".join(blocks)[:len(data)]
    mixed = int.from_bytes(stream, "big") ^ int.from_bytes(data, "big")
    return mixed.to_bytes(len(data), "big")
