"""The demonstration of scripts/quickstart, run as a user would run it, small.

usage: quickstart_test.py STASIS SCRATCH_FOLDER TEST..."""

import os
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from host import kvm_works

SCRIPT = Path(__file__).parents[2] / "scripts" / "demonstration.py"


class QuickstartTest(unittest.TestCase):
    stasis: Path
    scratch: Path

    def setUp(self):
        self.out = self.scratch / self._testMethodName
        shutil.rmtree(self.out, ignore_errors=True)
        self.addCleanup(shutil.rmtree, self.out, ignore_errors=True)

    def command(self) -> list[str]:
        return [sys.executable, "-B", str(SCRIPT), "--stasis", str(self.stasis), "--out",
                str(self.out), "--memory", "64M", "--data", "16", "--trials", "2"]

    def demonstrate(self, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(), env={**os.environ, **environment}, timeout=100,
                              capture_output=True, text=True, check=False)

    def test_without_kvm_it_says_why_and_how_to_mend_it(self):
        done = self.demonstrate(STASIS_KVM_DEVICE=str(self.scratch / "no-such-device"))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("no-such-device", done.stderr)
        self.assertIn("cure:", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse((self.out / "warm").exists())

    def test_it_proves_every_restore_and_leaves_a_report(self):
        done = self.demonstrate()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for restore in ("warm-lazy", "warm-eager", "changed-lazy", "changed-eager"):
            self.assertRegex(done.stdout, rf"{restore}\s+proven")
        text = (self.out / "report.txt").read_text(encoding="utf-8")
        self.assertRegex(text, r"first_instruction +[\d.]+ ×")
        page = (self.out / "report.html").read_text(encoding="utf-8")
        self.assertIn("</html>", page)
        self.assertNotIn("http", page)  # Self-contained.
        self.assertTrue((self.out / "changed" / "manifest.capnp").is_file())

    def test_an_interrupt_removes_the_snapshots(self):
        process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, text=True,
                                   start_new_session=True)
        line = process.stdout.readline()
        while line and not line.startswith("2."):  # The first snapshot exists from here on.
            line = process.stdout.readline()
        self.assertTrue((self.out / "warm").is_dir())
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does it.
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertFalse((self.out / "warm").exists())
        self.assertFalse((self.out / "changed").exists())

    def test_a_folder_that_is_not_its_own_is_left_alone(self):
        self.out.mkdir(parents=True)
        (self.out / "thesis.txt").write_text("precious", encoding="utf-8")
        done = self.demonstrate()
        self.assertEqual(done.returncode, 1)
        self.assertIn("--out", done.stderr)
        self.assertEqual((self.out / "thesis.txt").read_text(encoding="utf-8"), "precious")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    QuickstartTest.stasis, QuickstartTest.scratch = Path(sys.argv[1]), Path(sys.argv[2])
    wanted = sys.argv[3:]
    if any("kvm" not in name and "folder" not in name for name in wanted) and not kvm_works():
        print("quickstart_test: skipped, KVM does not work here")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *(f"QuickstartTest.{name}" for name in wanted)])
