"""What every function of the set keeps, with both of its input sets, natively.

usage: function_test.py PROGRAMS_FOLDER SCRATCH_FOLDER FUNCTION"""

import json
import sys
import unittest

import support
from support import input_files, manifest

# Requests that no function takes.
NO_REQUESTS = (b"not JSON\n", b"\n", b"{\n", b"[]\n", b"17\n", b"null\n", b"{}\n", b'"name"\n',
               b'{"unknown":1}\n', b"[" * 5000 + b"\n", b'{"a":"' + b"x" * 70000 + b'"}\n')
# Bytes that JSON does not allow in a string: any answer will do, but it is one line of JSON.
ODD_BYTES = (b'{"name":"\xff\xfe"}\n', b'{"name":"a\x00b"}\n', b'{"name":"\xed\xa0\x80"}\n')
# None of the functions' members takes any of these.
WRONG_VALUES = (None, 1.5, [], {}, -1, True, 10**30)
# Nor is any of these the name of an input file.
WRONG_FILES = ("../hello_c/a.jsonl", "/etc/passwd", "absent.png", ".", "", "a\u0000b", "x" * 1000)


class FunctionTest(unittest.TestCase):
    function = None
    requests = []
    forth = None  # One run of both sets, in order.

    @classmethod
    def setUpClass(cls):
        missing = cls.function.missing(support.Place.programs)
        if missing is not None:
            raise unittest.SkipTest(missing)
        inputs = support.inputs_of(cls.function)
        cls.requests = [line for name in manifest.SETS for line in input_files.requests(inputs, name)]
        cls.forth = support.run(cls.function, cls.requests, PYTHONHASHSEED="1")

    def test_no_request_of_the_sets_is_refused(self):
        for line, response in zip(self.requests, self.forth.responses):
            self.assertNotIn("error", json.loads(response), line)

    def test_another_run_in_another_order_answers_alike(self):
        back = support.run(self.function, self.requests[::-1], PYTHONHASHSEED="2")
        self.assertEqual(self.forth.responses, back.responses[::-1])

    def test_different_requests_get_different_answers(self):
        self.assertEqual(len(set(self.forth.responses)), len(set(self.requests)))

    def test_bad_requests_get_an_error_and_the_function_lives_on(self):
        good = self.requests[0]
        bad = list(NO_REQUESTS)
        for name, value in json.loads(good).items():
            is_file = isinstance(value, str) and "." in value
            for wrong in WRONG_VALUES + (WRONG_FILES if is_file else ()):
                bad.append(json.dumps({**json.loads(good), name: wrong}).encode() + b"\n")
        run = support.run(self.function, [good, *bad, good])
        for line, response in zip(bad, run.responses[1:-1]):
            self.assertIn("error", json.loads(response), line[:80])
        self.assertEqual(run.responses[-1], run.responses[0])

    def test_odd_bytes_get_one_line_of_json(self):
        good = self.requests[0]
        run = support.run(self.function, [good, *ODD_BYTES, good])
        for response in run.responses:
            self.assertIsInstance(json.loads(response.decode()), dict)
        self.assertEqual(run.responses[-1], run.responses[0])

    def test_it_stays_within_the_memory_that_the_manifest_states(self):
        self.assertLess(0, self.forth.peak_memory_bytes)
        self.assertLessEqual(self.forth.peak_memory_bytes, self.function.memory_mib << 20)


if __name__ == "__main__":
    FunctionTest.function = support.function_named(sys.argv.pop(3))
    support.main("__main__")
