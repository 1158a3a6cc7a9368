"""The native runner keeps the device's protocol and leaves nothing behind; inputs follow from their
names alone; the manifest's checks find what they are there to find.

usage: harness_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import copy
import json
import os
import sys
import unittest
from hashlib import sha256

import support
from support import FUNCTIONS, Place, input_files, manifest, run_natively

from corpus import Corpus
from native_process import FunctionFailed
from pictures import picture, png, shifted
from streams import Stream

PYTHON = sys.executable


def run_code(code, lines, timeout_seconds=20):
    """A run of Python code that has the device open, unbuffered, as "device"."""
    begin = "import os, sys, time\ndevice = open(os.environ['STASIS_DEVICE'], 'r+b', buffering=0)\n"
    return run_natively([PYTHON, "-S", "-c", begin + code], {}, lines, timeout_seconds)


ECHO = "while line := device.readline(): device.write(b'%d %d\\n' % (len(line), sum(line)))"


def children():
    """The processes that this one has started and not waited for."""
    return support.processes(lambda state, command: state[1] == str(os.getpid()))


class Protocol(unittest.TestCase):
    def test_a_read_returns_at_most_one_request(self):
        code = "while part := device.read(65536): device.write(b'%d\\n' % len(part))"
        run = run_code(code, [b"x" * length + b"\n" for length in (0, 1, 10, 1000)])
        self.assertEqual(run.responses, [b"1\n", b"2\n", b"11\n", b"1001\n"])

    def test_long_requests_and_responses_arrive_whole(self):
        lengths = (2047, 2048, 2049, 4095, 4096, 4097, 8192, 300000)
        code = ("buffer = b''\n"
                "while part := device.read(5000):\n"
                "  buffer += part\n"
                "  if buffer.endswith(b'\\n'):\n"
                "    while buffer: buffer = buffer[device.write(buffer):]\n")
        lines = [bytes(97 + at % 26 for at in range(length)) + b"\n" for length in lengths]
        responses = run_code(code, lines).responses
        # Digests: unittest takes minutes to say how two long texts differ.
        self.assertEqual([(len(line), sha256(line).hexdigest()) for line in responses],
                         [(len(line), sha256(line).hexdigest()) for line in lines])

    def test_requests_can_be_read_byte_by_byte(self):
        line = b"y" * 5000 + b"\n"
        run = run_code(ECHO, [line, line, b"\n"])  # readline() of an unbuffered file.
        self.assertEqual(run.responses, [b"%d %d\n" % (len(line), sum(line))] * 2 + [b"1 10\n"])

    def test_every_byte_but_the_line_end_and_ctrl_d_passes_as_it_is(self):
        line = bytes(byte for byte in range(256) if byte not in (4, 10)) + b"\n"
        self.assertEqual(run_code("while line := device.read(65536): device.write(line)", [line]).responses,
                         [line])

    def test_the_device_can_be_opened_for_reading_and_for_writing_apart(self):
        code = ("requests = open(os.environ['STASIS_DEVICE'], 'rb')\n"
                "responses = open(os.environ['STASIS_DEVICE'], 'wb')\n"
                "for line in requests: responses.write(line.upper()); responses.flush()")
        self.assertEqual(run_code(code, [b"one\n", b"two\n"]).responses, [b"ONE\n", b"TWO\n"])

    def test_ready_is_when_the_first_request_is_awaited(self):
        run = run_code("time.sleep(0.3)\n" + ECHO, [b"x\n"])
        self.assertGreater(run.ready_ns, 300_000_000)
        self.assertLess(run.first_response_ns, run.ready_ns)

    def test_a_program_that_polls_first_is_ready_too(self):
        code = ("import select\npoll = select.poll()\npoll.register(device, select.POLLIN)\n"
                "while poll.poll() and (line := device.read(100)): device.write(line)")
        self.assertEqual(run_code(code, [b"a\n"]).responses, [b"a\n"])

    def test_the_peak_of_memory_is_the_programs_own(self):
        run = run_code("device.readline()\nx = bytearray(100 << 20)\ndevice.write(b'x\\n')\n" + ECHO, [b"\n"])
        self.assertGreater(run.peak_memory_bytes, 100 << 20)
        self.assertLess(run.peak_memory_bytes, 140 << 20)


class Failures(unittest.TestCase):
    def refused(self, code, expected, lines=(b"x\n",), timeout_seconds=20.0):
        with self.assertRaisesRegex(FunctionFailed, expected):
            run_code(code, list(lines), timeout_seconds)
        self.assertEqual(children(), [])

    def test_a_program_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(FunctionFailed, "/no/such/program: No such file"):
            run_natively(["/no/such/program"], {}, [b"x\n"], 5)

    def test_what_a_program_said_before_it_ended_is_shown(self):
        self.refused("sys.exit('my last words')", "before it was ready.*\n.*my last words")

    def test_a_program_that_ends_instead_of_answering_is_found(self):
        self.refused("device.readline(); sys.exit('no')", "ended instead of answering.*\n.*no")

    def test_a_program_that_never_reads_is_ended(self):
        self.refused("time.sleep(100)", "not ready in time", timeout_seconds=2.0)

    def test_a_program_that_never_answers_is_ended(self):
        self.refused("device.readline(); time.sleep(100)", "did not answer", timeout_seconds=2.0)

    def test_a_program_that_stays_after_the_end_is_ended(self):
        self.refused(ECHO + "\ntime.sleep(100)", "did not exit", timeout_seconds=2.0)

    def test_an_exit_code_is_reported(self):
        self.refused(ECHO + "\nsys.exit(3)", "exited with 3")

    def test_two_lines_for_one_request_are_refused(self):
        self.refused("while device.readline(): device.write(b'a\\nb\\n')", "more than one line")

    def test_a_child_of_a_program_is_ended_with_it(self):
        seconds = str(100_000 + os.getpid())  # To tell it from that of another run of this test.
        code = (f"if os.fork() == 0: os.execvp('sleep', ['sleep', '{seconds}'])\n"
                "device.readline(); time.sleep(100)")
        self.refused(code, "did not answer", timeout_seconds=2.0)
        # Killed as one group; init has it until it is waited for.
        self.assertEqual(support.processes(
            lambda state, command: command == f"sleep {seconds}" and state[0] != "Z"), [])


class Inputs(unittest.TestCase):
    # Of all files and requests: a change here changes what every later measurement is about. When the
    # inputs are changed on purpose, this is the place to say so.
    DIGEST = "d5923158f9d2dbd803125b69cbca00b18771bf74d6a3c32de950d5e23e3c6067"

    def test_they_are_the_same_everywhere(self):
        state = sha256()
        for function in manifest.load():
            files, sets = input_files.make(function)
            for name in sorted(files):
                state.update(f"{function.name}/{name} {sha256(files[name]).hexdigest()}\n".encode())
            state.update(b"".join(line for name in sorted(sets) for line in sets[name]))
        self.assertEqual(state.hexdigest(), self.DIGEST)

    def test_the_sets_differ(self):
        for function in manifest.load():
            _, sets = input_files.make(function)
            self.assertFalse(set(sets["a"]) & set(sets["b"]), function.name)

    def test_what_is_there_already_is_not_written_again(self):
        function = support.function_named("lr_serving")
        folder = input_files.write(function, Place.scratch / "again")
        before = (folder / "model.tsv").stat()
        (folder / "a.jsonl").write_bytes(b"changed")
        input_files.write(function, Place.scratch / "again")
        self.assertEqual((folder / "model.tsv").stat(), before)
        self.assertNotEqual((folder / "a.jsonl").read_bytes(), b"changed")

    def test_streams_differ_by_name_and_spread_evenly(self):
        self.assertNotEqual(Stream("a").bytes(32), Stream("b").bytes(32))
        self.assertEqual(Stream("a").bytes(5000), Stream("a").bytes(5000))
        random, counts = Stream("dice"), [0] * 6
        for _ in range(6000):
            counts[random.below(6)] += 1
        self.assertTrue(all(850 < count < 1150 for count in counts), counts)

    def test_common_words_are_common(self):
        corpus, random = Corpus(), Stream("words")
        words = [corpus.word(random) for _ in range(20000)]
        self.assertEqual(len(set(corpus.vocabulary)), len(corpus.vocabulary))
        self.assertGreater(words.count(corpus.vocabulary[0]), 1000)
        self.assertGreater(len(set(words)), 2000)

    def test_a_picture_moves_and_comes_back(self):
        still = picture(Stream("picture"), 20, 10)
        self.assertEqual(len(still), 600)
        self.assertNotEqual(shifted(still, 20, 3, 2), still)
        self.assertEqual(shifted(shifted(still, 20, 3, 2), 20, 17, 8), still)
        self.assertTrue(png(20, 10, still).startswith(b"\x89PNG\r\n\x1a\n"))


class Manifest(unittest.TestCase):
    def setUp(self):
        self.document = json.loads(manifest.MANIFEST.read_text(encoding="utf-8"))

    def problems(self, change):
        document = copy.deepcopy(self.document)
        change(document)
        return manifest.check(document)

    def test_it_is_well(self):
        self.assertEqual(manifest.check(self.document), [])
        self.assertGreaterEqual(len(manifest.load()), 20)

    def test_each_folder_with_inputs_belongs_to_a_function(self):
        known = {function.inputs for function in manifest.load()}
        there = {path.relative_to(FUNCTIONS).as_posix() for path in FUNCTIONS.glob("*/inputs*.py")}
        self.assertEqual(known, there)

    def test_each_handler_belongs_to_a_function(self):
        words = {word for function in manifest.load() for word in function.argv}
        for path in FUNCTIONS.glob("*/handler*"):
            if path.suffix != ".c":  # Those are programs; CMakeLists.txt names them.
                self.assertIn("{functions}/" + path.relative_to(FUNCTIONS).as_posix(), words)

    def test_packages_are_in_the_list_of_packages(self):
        listed = (FUNCTIONS.parents[1] / "scripts" / "packages").read_text(encoding="utf-8").split()
        for function in manifest.load():
            for package in function.packages:
                self.assertIn(package, listed, function.name)

    def test_every_kind_of_mistake_is_found(self):
        first = self.document["functions"][0]
        changes = [lambda d: d.pop("functions"), lambda d: d.update(functions=[]),
                   lambda d: d.update(version=2), lambda d: d["runtimes"].pop(first["runtime"]),
                   lambda d: d["functions"].append(first)]
        for field, wrong in (("name", "Hello"), ("name", 1), ("runtime", "cobol"), ("argv", "x"),
                             ("argv", [1]), ("argv", ["{functions}/absent.py"]), ("argv", ["{nowhere}/x"]),
                             ("inputs", "absent.py"), ("memory_mib", 0), ("memory_mib", True),
                             ("source", {}), ("reads", None), ("surplus", 1)):
            changes.append(lambda d, field=field, wrong=wrong: d["functions"][0].update({field: wrong}))
        for number, change in enumerate(changes):
            with self.subTest(number):
                self.assertNotEqual(self.problems(change), [])

    def test_what_is_missing_is_said(self):
        function = support.function_named("hello_c")
        self.assertIn("hello_c is not there", function.missing(Place.scratch / "nowhere"))


class Profiles(unittest.TestCase):
    FOLDER = FUNCTIONS.parent / "profiles"
    KEYS = {"name", "function"}

    def profiles(self):
        return {path.name: json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(self.FOLDER.glob("*.json"))}

    def test_every_figure_has_a_source(self):
        profiles = self.profiles()
        self.assertEqual(list(profiles), ["faasnap.json", "reap.json"])
        known = {function.name for function in manifest.load()}
        for name, profile in profiles.items():
            self.assertTrue(all(source["read"] in ("paper", "artifact", "unverified") and source["where"]
                                for source in profile["evidence"].values()), name)
            for entry in profile["functions"]:
                self.assertIn(entry["function"], known)
                self.assertLessEqual(set(entry) - self.KEYS, set(profile["evidence"]), entry["name"])

    def test_reaps_figures_agree_with_those_that_follow_from_them(self):
        # Shares of same pages and speed-ups as they were noted beside the figures.
        noted = {"helloworld": (99.9, 3.9), "chameleon": (99.8, 4.5), "pyaes": (99.7, 5.6),
                 "image_rotate": (82.4, 2.9), "json_serdes": (79.8, 4.2), "lr_serving": (99.4, 9.8),
                 "cnn_serving": (99.2, 6.0), "rnn_serving": (99.8, 6.1), "lr_training": (97.0, 1.3),
                 "video_processing": (76.1, 1.04)}
        entries = self.profiles()["reap.json"]["functions"]
        self.assertEqual([entry["name"] for entry in entries], list(noted))
        for entry in entries:
            pages = entry["same_pages"] + entry["unique_pages"]
            share, speed_up = noted[entry["name"]]
            self.assertAlmostEqual(100 * entry["same_pages"] / pages, share, delta=0.1)
            self.assertAlmostEqual(entry["cold_ms"] / entry["reap_ms"], speed_up, delta=0.06)
            self.assertLess(entry["warm_ms"], entry["reap_ms"])


if __name__ == "__main__":
    support.main("__main__")
