"""A report is a page that a browser shows: light and dark differ, nothing overflows, no script runs.

Skips (77) where no Chromium is installed: it is no package of the project's."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

SKIPPED = 77
WIDTH, HEIGHT = 1280, 1600
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def pixels(path: Path) -> tuple[int, int, list[bytes]]:
    """Width, height and the rows of an 8-bit RGB or RGBA picture (PNG, ISO/IEC 15948)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, header = 8, b"", b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        header = body if kind == b"IHDR" else header
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    assert depth == 8 and colour in (2, 6), (depth, colour)
    step = 3 if colour == 2 else 4
    raw, rows, before = zlib.decompress(packed), [], bytearray(width * step)
    for number in range(height):
        begin = number * (width * step + 1)
        before = unfilter(raw[begin], bytearray(raw[begin + 1:begin + 1 + width * step]), before, step)
        rows.append(bytes(before))
    return width, height, [rgb(row, step) for row in rows]


def rgb(row: bytes, step: int) -> bytes:
    return row if step == 3 else b"".join(row[i:i + 3] for i in range(0, len(row), 4))


def unfilter(kind: int, row: bytearray, before: bytearray, step: int) -> bytearray:
    for i in range(len(row)):
        left = row[i - step] if i >= step else 0
        up, corner = before[i], before[i - step] if i >= step else 0
        if kind == 1:
            row[i] = (row[i] + left) & 255
        elif kind == 2:
            row[i] = (row[i] + up) & 255
        elif kind == 3:
            row[i] = (row[i] + (left + up) // 2) & 255
        elif kind == 4:
            estimate = left + up - corner
            nearest = min((abs(estimate - left), 0, left), (abs(estimate - up), 1, up),
                          (abs(estimate - corner), 2, corner))
            row[i] = (row[i] + nearest[2]) & 255
    return row


class ReportInBrowser(unittest.TestCase):
    stasis = ""
    browser = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="stasis-report-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        subprocess.run([cls.stasis, "experiment", "run", "full_vs_diff", "--quick", "-n", "2",
                        "--backend", "mock", "--trackers", "compare", "--quiet", "--out",
                        str(cls.folder / "run")], check=True, stdout=subprocess.DEVNULL)
        cls.page = cls.folder / "page.html"
        subprocess.run([cls.stasis, "report", str(cls.folder / "run"), "--against",
                        str(cls.folder / "run"), "--out", str(cls.page)], check=True,
                       stdout=subprocess.DEVNULL)

    def chromium(self, *options: str) -> str:
        command = [self.browser, "--headless", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={self.folder / 'profile'}", *options, self.page.as_uri()]
        if os.geteuid() == 0:  # It refuses to sandbox what root started.
            command.insert(1, "--no-sandbox")
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def picture(self, name: str, *options: str) -> tuple[int, int, list[bytes]]:
        path = self.folder / name
        self.chromium(f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={path}", *options)
        return pixels(path)

    def test_light_and_dark_are_drawn_with_figures(self):
        shown = {}
        for name, scheme in (("light", 1), ("dark", 0)):
            width, height, rows = self.picture(
                f"{name}.png", f"--blink-settings=preferredColorScheme={scheme}")
            self.assertEqual((width, height), (WIDTH, HEIGHT))
            colours = {row[i:i + 3] for row in rows[::4] for i in range(0, len(row), 12)}
            self.assertGreater(len(colours), 20, f"{name}: hardly anything is drawn")
            shown[name] = sum(rows[2][:3])  # The background, at the edge.
        self.assertGreater(shown["light"], 700)
        self.assertLess(shown["dark"], 150)

    def test_the_browser_reads_a_whole_document_without_scripts(self):
        document = self.chromium("--dump-dom")
        for part in ("<svg", "</section>" if document.count("<section") else "</body>",
                     "Against ", "Checks", "Host"):
            self.assertIn(part, document)
        self.assertNotIn("<script", document)
        self.assertNotIn("NaN", document)

    def test_it_prints(self):
        path = self.folder / "page.pdf"
        self.chromium(f"--print-to-pdf={path}", "--no-pdf-header-footer")
        self.assertTrue(path.read_bytes().startswith(b"%PDF-"))


if __name__ == "__main__":
    ReportInBrowser.stasis = sys.argv.pop(1)
    if (found := find_browser()) is None:
        print("no Chromium is installed")
        sys.exit(SKIPPED)
    ReportInBrowser.browser = found
    unittest.main()
