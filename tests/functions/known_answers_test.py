"""Functions against answers that come from elsewhere: standards, other ways to compute, other languages.

usage: known_answers_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import gzip
import hashlib
import json
import random
import re
import struct
import unittest
import zlib
from fractions import Fraction

import support
from support import ask, input_files, inputs_of, manifest, function_named, needs


def digest(*parts):
    """As in stasis_digest.py, from its description."""
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).hexdigest()


class Pyaes(unittest.TestCase):
    # SP 800-38A, F.5.1: CTR-AES128.Encrypt.
    KEY = "2b7e151628aed2a6abf7158809cf4f3c"
    COUNTER = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
    PLAIN = ("6bc1bee22e409f96e93d7e117393172a" "ae2d8a571e03ac9c9eb76fac45af8e51"
             "30c81c46a35ce411e5fbc1191a0a52ef" "f69f2445df4f9b17ad2b417be66c3710")
    CIPHER = ("874d6191b620e3261bef6864990db6ce" "9806f66b7970fdff8617187bb9fffdff"
              "5ae4df3edbd5d35e5b4f09020db03eab" "1e031dda2fbe03d1792170a0f3009cee")

    def test_it_encrypts_as_sp_800_38a_says(self):
        answers = ask("pyaes", {"key": self.KEY, "counter": self.COUNTER, "message": self.PLAIN},
                      {"key": self.KEY, "counter": self.COUNTER, "message": self.PLAIN[:26]},
                      {"key": self.KEY, "counter": self.COUNTER, "message": self.CIPHER})
        self.assertEqual([answer["ciphertext"] for answer in answers],
                         [self.CIPHER, self.CIPHER[:26], self.PLAIN])

    def test_it_encrypts_a_block_as_fips_197_says(self):
        # FIPS 197, C.1; a message of zeros makes counter mode show the encrypted counter.
        answer, = ask("pyaes", {"key": bytes(range(16)).hex(), "message": "00" * 16,
                                "counter": "00112233445566778899aabbccddeeff"})
        self.assertEqual(answer["ciphertext"], "69c4e0d86a7b0430d8cdb78070b4c55a")

    def test_the_counter_wraps_around(self):
        once, both = ask("pyaes", {"key": self.KEY, "counter": "00" * 16, "message": "00" * 16},
                         {"key": self.KEY, "counter": "ff" * 16, "message": "00" * 32})
        self.assertEqual(both["ciphertext"][32:], once["ciphertext"])


class Pagerank(unittest.TestCase):
    @staticmethod
    def solved(links, damping=Fraction(85, 100)):
        """The ranks by Gauss' elimination in fractions: no iteration, no rounding."""
        count = len(links)
        rows = [[Fraction(int(i == j)) for j in range(count)] + [(1 - damping) / count]
                for i in range(count)]
        for source, targets in enumerate(links):
            for target in targets or range(count):
                rows[target][source] -= damping / (len(targets) or count)
        for at in range(count):
            pivot = next(row for row in range(at, count) if rows[row][at] != 0)
            rows[at], rows[pivot] = rows[pivot], rows[at]
            rows[at] = [value / rows[at][at] for value in rows[at]]
            for other in range(count):
                if other != at:
                    factor = rows[other][at]
                    rows[other] = [a - factor * b for a, b in zip(rows[other], rows[at])]
        return [row[-1] for row in rows]

    def test_its_ranks_solve_the_equations(self):
        generator = random.Random(7)
        graphs = [[[1], [2], [0]], [[1, 2], [2], [], [0, 0, 1]],
                  [[generator.randrange(9) for _ in range(generator.randrange(5))] for _ in range(9)]]
        for links in graphs:
            answer, = ask("pagerank", {"links": links, "rounds": 200})
            for found, exact in zip(answer["ranks"], self.solved(links), strict=True):
                self.assertAlmostEqual(float(found), float(exact), places=11)


class Matmul(unittest.TestCase):
    @staticmethod
    def draw(n, generator):
        return [[int(generator.random() * 1000) for _ in range(n)] for _ in range(n)]

    @staticmethod
    def multiplied(left, right):
        n = len(left)
        return [[sum(left[i][k] * right[k][j] for k in range(n)) for j in range(n)] for i in range(n)]

    def test_it_multiplies_as_whole_numbers_do(self):
        for n, seed in ((1, 3), (2, 5), (23, 99)):
            generator = random.Random(seed)
            product = self.multiplied(self.draw(n, generator), self.draw(n, generator))
            answer, = ask("matmul", {"n": n, "seed": seed})
            self.assertEqual(answer["trace"], sum(product[i][i] for i in range(n)))
            rows = (" ".join(map(str, row)).encode() for row in product)
            self.assertEqual(answer["sha256"], digest(*rows))


class MatmulNumpy(unittest.TestCase):
    @needs("matmul_numpy")
    def test_it_multiplies_as_whole_numbers_do(self):
        def draw(n, seed, name):
            raw = hashlib.shake_256(f"{name} {seed}".encode()).digest(2 * n * n)
            numbers = [number % 1000 for number, in struct.iter_unpack("<H", raw)]
            return [numbers[at:at + n] for at in range(0, n * n, n)]

        n, seed = 31, 4
        product = Matmul.multiplied(draw(n, seed, "left"), draw(n, seed, "right"))
        answer, = ask("matmul_numpy", {"n": n, "seed": seed})
        self.assertEqual(answer["sha256"],
                         digest(b"".join(struct.pack(f"<{n}q", *row) for row in product)))


class Json(unittest.TestCase):
    def test_it_sums_the_orders_of_each_customer(self):
        request = json.loads(input_files.requests(inputs_of(function_named("json_serdes")), "b")[0])
        document = json.loads((inputs_of(function_named("json_serdes")) / request["document"]).read_bytes())
        cents = [sum(item["count"] * item["price_cents"] for item in order["items"])
                 for order in document["orders"]]
        customers = sorted({order["customer"] for order in document["orders"]})
        expected = {
            "orders": [{"id": order["id"], "cents": total, "tags": sorted(order["tags"])}
                       for order, total in zip(document["orders"], cents)],
            "customers": [{
                "name": name, "orders": sum(order["customer"] == name for order in document["orders"]),
                "cents": sum(total for order, total in zip(document["orders"], cents)
                             if order["customer"] == name)} for name in customers]}
        answer, = ask("json_serdes", request)
        self.assertEqual(answer["sha256"], digest(json.dumps(expected, indent=4, sort_keys=True).encode()))


class Regex(unittest.TestCase):
    def test_it_finds_what_is_there(self):
        text = ("Write to ada@example.org or A.B@x.co; call +49 30 1234 567. On 2024-02-30 and 2024-13-01, "
                "3.14 was the the the number.")
        answer, = ask("regex_text", {"text": text})
        self.assertEqual(answer["found"], {"mail": 2, "date": 1, "phone": 1, "number": 4})
        # The four masks are words of the masked text.
        self.assertEqual(answer["frequent"][:2], [["number", 5], ["the", 3]])

    def test_its_files_have_as_many_dates_as_were_strewn_in(self):
        folder = inputs_of(function_named("regex_text"))
        data = (folder / "prose-a0.txt").read_text(encoding="utf-8")
        dates = sum(bool(re.fullmatch(r"20\d\d-0\d-\d\d", word)) for word in data.split())
        answer, = ask("regex_text", {"file": "prose-a0.txt"})
        self.assertGreater(dates, 50)
        self.assertEqual(answer["found"]["date"], dates)


class Compression(unittest.TestCase):
    def test_it_compresses_this_very_file(self):
        folder = inputs_of(function_named("compression"))
        data = (folder / "text-a.txt").read_bytes()
        answer, = ask("compression", {"file": "text-a.txt", "level": 6})
        self.assertEqual((answer["bytes"], answer["crc32"]), (len(data), zlib.crc32(data)))
        self.assertLess(answer["compressed"], len(data) / 2)
        self.assertGreater(answer["compressed"], len(gzip.compress(data, 9)) / 2)


class Sort(unittest.TestCase):
    @staticmethod
    def numbers(count, seed):
        mask = (1 << 64) - 1
        for _ in range(count):
            seed = (seed + 0x9E3779B97F4A7C15) & mask
            mixed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
            yield mixed ^ mixed >> 31

    def test_splitmix64_is_the_published_one(self):
        # The first numbers of seed 1234567, as its authors' implementation gives them.
        self.assertEqual(list(self.numbers(2, 1234567)), [6457827717110365317, 3203168211198807973])

    def test_it_sorts(self):
        for count, seed in ((1, 0), (1000, 2**64 - 1)):
            expected = 0xCBF29CE484222325
            ordered = sorted(self.numbers(count, seed))
            for byte in struct.pack(f"<{count}Q", *ordered):
                expected = (expected ^ byte) * 0x100000001B3 & (1 << 64) - 1
            answer, = ask("sort_c", {"n": count, "seed": seed})
            self.assertEqual(answer, {"fnv1a": f"{expected:016x}", "least": ordered[0], "n": count})


class Sqlite(unittest.TestCase):
    def test_its_sums_are_those_of_its_rows(self):
        generator = random.Random(20221012)

        def below(bound):
            return int(generator.random() * bound)

        for _ in range(500):
            below(10**6), below(8)
        cents = [(below(500), below(365), 100 + below(99900))[2] for _ in range(20000)]
        answer, = ask("sqlite_queries", {"first_day": 0, "last_day": 364, "city": "Cork", "part": "7",
                                         "percent": 30})
        self.assertEqual(answer["total"], sum(cents))
        self.assertEqual(answer["discounted"], sum(each * 70 // 100 for each in cents))


class LrServing(unittest.TestCase):
    @needs("lr_serving_lua")
    def test_lua_and_python_answer_alike(self):
        requests = [json.loads(line) for name in manifest.SETS
                    for line in input_files.requests(inputs_of(function_named("lr_serving")), name)]
        odd = [{"texts": ["", "ÄÖ Kelvin \u212a x\u0301", "\"\\\n\t\u0001 \U0001f600", "a" * 9000]},
               {"texts": []}, {"texts": "text"}, {"texts": [1]}, {"texts": ["a" * 10001]}]
        self.assertEqual(ask("lr_serving", *requests, *odd), ask("lr_serving_lua", *requests, *odd))

    def test_a_better_word_makes_a_better_review(self):
        model = (inputs_of(function_named("lr_serving")) / "model.tsv").read_text(encoding="utf-8")
        pairs = (line.split("\t") for line in model.splitlines())
        weights = {word: float(weight) for word, weight in pairs}
        bias = weights.pop("")
        ranked = sorted(weights, key=weights.get)
        answer, = ask("lr_serving", {"texts": [ranked[0], ranked[-1], "zzzzzz"]})
        worst, best, unknown = (float(review["good"]) for review in answer["reviews"])
        self.assertLess(worst, unknown)
        self.assertLess(unknown, best)
        self.assertAlmostEqual(unknown, 0.531209, places=6)  # Of the bias alone: 1 / (1 + e^-0.125).
        self.assertEqual(bias, 0.125)


class LrTraining(unittest.TestCase):
    def test_it_learns(self):
        few, many = ask("lr_training", {"reviews": "reviews-a.tsv", "rounds": 1},
                        {"reviews": "reviews-a.tsv", "rounds": 10})
        self.assertGreater(many["right"], few["right"] * 0.99)
        self.assertGreater(many["right"], 0.9 * many["reviews"])


class Pictures(unittest.TestCase):
    @needs("image_rotate")
    def test_a_rotation_moves_every_pixel(self):
        width, height, pixels = 5, 3, bytes(range(45))
        folder = inputs_of(function_named("image_rotate"))
        from pictures import png  # support.py put its folder on the path.
        (folder / "tiny.png").write_bytes(png(width, height, pixels))
        rows = [[pixels[3 * (y * width + x):][:3] for x in range(width)] for y in range(height)]
        answer, = ask("image_rotate", {"picture": "tiny.png"})
        for turn in answer["rotated"]:
            rows = [list(column) for column in zip(*rows)][::-1]  # A quarter turn to the left.
            self.assertEqual((turn["width"], turn["height"]), (len(rows[0]), len(rows)))
            self.assertEqual(turn["pixels"], digest(b"".join(b"".join(row) for row in rows)))


class Hello(unittest.TestCase):
    def test_every_language_greets_alike(self):
        names = [function.name for function in manifest.load() if function.name.startswith("hello_")]
        self.assertGreaterEqual(len(names), 7)
        for name in names:
            if function_named(name).missing(support.Place.programs) is None:
                with self.subTest(name):
                    self.assertEqual(ask(name, {"name": "Ada 36"}, {"other": 1, "name": "x"}),
                                     [{"text": "Hello, Ada 36!"}, {"text": "Hello, x!"}])


if __name__ == "__main__":
    support.main("__main__")
