"""Programs of Debian that know nothing of virtual machines write in a VM, byte by byte, what they write
on the host, and what they wrote there can be read here.

usage: debian_programs_test.py PROGRAMS_FOLDER SCRATCH_FOLDER [CLASS...]"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import support
from support import Place

from vm_process import Stasis, why_no_kvm

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/", "TZ": "UTC0", "PYTHONHASHSEED": "1",
               "PYTHONDONTWRITEBYTECODE": "1"}
TEXT = "".join(f"{number} {number * number % 9973} line of text\n" for number in range(20000)).encode()


class ProgramTest(unittest.TestCase):
    needs = ()

    def setUp(self):
        for program in self.needs:
            if not os.path.exists(program):
                self.skipTest(f"there is no {program} (scripts/packages)")
        self.stasis = str(Place.programs.parents[1] / "cli" / "stasis")
        reason = why_no_kvm(Stasis(self.stasis, Place.scratch).doctor())
        if reason is not None:
            self.skipTest(reason)
        self.folder = Path(tempfile.mkdtemp(dir=Place.scratch))
        self.addCleanup(shutil.rmtree, self.folder)
        self.file("text", TEXT)

    def file(self, name, data):
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    def native(self, *argv, code=0):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
                              cwd=self.folder, env=ENVIRONMENT)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def in_vm(self, *argv, code=0):
        """Its standard output, and that of errors behind it."""
        words = ["run", "--quiet", "--memory", "256M", "--timeout", "200s", "--cwd", str(self.folder)]
        for path in ("/usr", "/etc/ld.so.cache", "/etc/ssl/openssl.cnf", str(self.folder)):
            words += ["--allow-read", path]
        for name, value in ENVIRONMENT.items():
            words += ["--env", f"{name}={value}"]
        done = subprocess.run([self.stasis, *words, "--", *argv], stdin=subprocess.DEVNULL, capture_output=True,
                              check=False, timeout=240)
        self.assertEqual(done.returncode, code, (done.stdout[-2000:], done.stderr))
        self.assertNotIn(b"stasis: ", done.stderr)
        return done.stdout + done.stderr

    def same(self, *argv):
        """Runs it in both places; the output, when it is the same."""
        here, there = self.native(*argv), self.in_vm(*argv)
        self.assertTrue(here == there, f"{argv}: {len(here)} and {len(there)} bytes: {here[:200]!r}, {there[:200]!r}")
        self.assertNotEqual(here, b"")
        return here


class RoundTrips(ProgramTest):
    """Compressed in the VM and on the host to the same bytes, and in the VM back to the text."""

    def round_trip(self, program, *options):
        self.file("packed", self.native(program, *options, "-c", "text"))
        self.same(program, *options, "-c", "text")
        self.assertTrue(self.in_vm(program, "-dc", "packed") == TEXT)


class Gzip(RoundTrips):
    needs = ("/usr/bin/gzip",)

    def test_gzip_goes_there_and_back(self):
        self.round_trip("/usr/bin/gzip", "-9")

    def test_damaged_input_is_refused_as_on_the_host(self):
        packed = bytearray(self.native("/usr/bin/gzip", "-c", "text"))
        packed[len(packed) // 2] ^= 255
        self.file("damaged.gz", packed)
        self.native("/usr/bin/gzip", "-t", "damaged.gz", code=1)
        self.assertIn(b"damaged.gz: invalid compressed data", self.in_vm("/usr/bin/gzip", "-t", "damaged.gz", code=1))


class Xz(RoundTrips):
    needs = ("/usr/bin/xz",)

    def test_xz_goes_there_and_back(self):
        self.round_trip("/usr/bin/xz", "-T1")

    def test_xz_with_threads_goes_there_and_back(self):
        self.round_trip("/usr/bin/xz", "-T2", "--block-size=100000")


class Zstd(RoundTrips):
    needs = ("/usr/bin/zstd",)

    def test_zstd_goes_there_and_back(self):
        self.round_trip("/usr/bin/zstd", "-q")


class Checksums(ProgramTest):
    needs = ("/usr/bin/openssl",)

    def test_a_large_file_has_its_digest(self):
        self.file("large", TEXT * (1 + (32 << 20) // len(TEXT)))
        self.same("/usr/bin/sha256sum", "large")
        self.same("/usr/bin/openssl", "dgst", "-sha3-256", "large")

    def test_a_file_is_enciphered_to_the_same_bytes(self):
        self.same("/usr/bin/openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-S", "0102030405060708", "-k", "secret",
                  "-in", "text")


class Sqlite(ProgramTest):
    needs = ("/usr/bin/sqlite3",)

    SCRIPT = ("create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all "
              "select x + 1 from c where x < 20000) insert into t select x, hex(x * x) from c; "
              "create index i on t(b); delete from t where a % 3 = 0; vacuum; pragma integrity_check; "
              "select count(*), sum(a), max(b) from t where b like '3%'; "
              "select a, sum(a) over (order by a rows 3 preceding) from t limit 20; "
              "select json_group_array(a) from (select a from t order by b desc limit 10);")

    def test_a_database_in_memory(self):
        self.assertIn(b"ok\n", self.same("/usr/bin/sqlite3", ":memory:", self.SCRIPT))

    def test_a_database_in_a_file_of_the_vm(self):
        there = self.in_vm("/usr/bin/sqlite3", "/run/guest.db", "pragma journal_mode = truncate; " + self.SCRIPT)
        here = self.native("/usr/bin/sqlite3", "host.db", "pragma journal_mode = truncate; " + self.SCRIPT)
        self.assertEqual(there, here)

    def test_a_database_of_the_host_is_read(self):
        self.native("/usr/bin/sqlite3", "host.db", self.SCRIPT)
        self.same("/usr/bin/sqlite3", "-readonly", f"file:{self.folder}/host.db?immutable=1",
                  "pragma integrity_check; select count(*), sum(a), max(b) from t;")


class Busybox(ProgramTest):
    needs = ("/usr/bin/busybox",)

    APPLETS = (("wc", "text"), ("sort", "-rn", "-k2", "text"),
               ("awk", "{ sum[$1 % 7] += $2 } END { for (i = 0; i < 7; i++) print i, sum[i] }", "text"),
               ("sed", "-n", "s/line of/&x&/; 5,90p", "text"), ("grep", "-c", "7.*1", "text"),
               ("od", "-x", "text"), ("base64", "text"), ("find", "."),
               ("sh", "-c", "i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; printf '%s\\n' \"$i\" ${PATH%%:*}"))

    def test_applets_write_what_they_write_on_the_host(self):
        for words in self.APPLETS:
            with self.subTest(words[0]):
                self.same("/usr/bin/busybox", *words)


class Lua(ProgramTest):
    needs = ("/usr/bin/lua5.4",)

    SCRIPT = b"""
local words, coroutines = {}, {}
for line in io.lines("text") do words[#words + 1] = line:gsub("%d", "%0.") end
table.sort(words, function(a, b) return a:reverse() < b:reverse() end)
for i = 1, 200 do coroutines[i] = coroutine.wrap(function() for k = 1, 9 do coroutine.yield(i * k) end end) end
local sum = 0
for k = 1, 9 do for i = 1, 200 do sum = sum + coroutines[i]() end end
local name = os.tmpname()
local file = assert(io.open(name, "w+")); file:write(table.concat(words, "\\n")); file:seek("set", 1000)
print(sum, #words, words[1], words[#words], file:read("l"), 7 // 2, 2^53, math.pi, #file:read("a"))
file:close(); assert(os.remove(name)); collectgarbage()
print(pcall(error, {code = 1}), select("#", string.byte(("x"):rep(100), 1, -1)), utf8.len("\\u{e9}\\u{20ac}"))
"""

    def test_a_script(self):
        self.file("script.lua", self.SCRIPT.replace(b"error, {code = 1}", b"error, 'no'"))
        self.assertIn(b"20000", self.same("/usr/bin/lua5.4", "script.lua"))


class PythonsOwnTests(ProgramTest):
    needs = ("/usr/bin/python3", "/usr/lib/python3.11/test/test_bisect.py")

    # Those without processes and sockets that take seconds at most.
    MODULES = ("array", "binascii", "bisect", "cmath", "collections", "deque", "dict", "float", "fnmatch",
               "fractions", "generators", "heapq", "list", "string", "textwrap")
    SCRIPT = b"""
import os, sys, tempfile, unittest
class Outcomes(unittest.TestResult):
    def stopTest(self, test):
        bad = {each.id() for each, _ in self.failures + self.errors}
        skipped = dict((each.id(), reason) for each, reason in self.skipped)
        print("outcome", test.id(), "failed" if test.id() in bad else skipped.get(test.id(), "ok"))
outcomes = Outcomes()
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)  # Some write where they are.
    unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:]).run(outcomes)
for test, trace in outcomes.failures + outcomes.errors: print("outcome", test, trace)
"""

    def outcomes(self, output):
        return [line for line in output.decode(errors="replace").splitlines() if line.startswith("outcome ")]

    def test_they_end_as_on_the_host(self):
        self.file("run_tests.py", self.SCRIPT)
        words = ["/usr/bin/python3", str(self.folder / "run_tests.py"), *(f"test.test_{name}" for name in self.MODULES)]
        here = self.outcomes(self.native(*words))
        there = self.outcomes(self.in_vm(*words))
        self.assertGreater(len(here), 1500)
        known = set(here)
        self.assertEqual([line for line in there if line not in known], [])
        self.assertEqual(len(here), len(there))
        self.assertEqual([line for line in here if line.endswith(" failed")], [])


if __name__ == "__main__":
    support.main("__main__")
