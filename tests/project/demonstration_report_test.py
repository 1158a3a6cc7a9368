"""What the demonstration's report shows when parts of the measurement are missing.

usage: demonstration_report_test.py"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import demonstration_report  # noqa: E402  (found by the line above)

MIB = 2**20


def trial(**milestones_ns: int) -> dict:
    milestones = {"header": 100_000, "prefetched": 1_100_000, "vcpu_enter": 2_000_000,
                  "first_instruction": 2_100_000, "first_response": 2_200_000, **milestones_ns}
    return {"milestones_ns": milestones, "counters": {"filled_bytes": 8 * MIB}}


def report() -> dict:
    saved = {"memory_bytes": 64 * MIB, "dirty_bytes": 64 * MIB, "zero_bytes": 32 * MIB,
             "written_bytes": 32 * MIB, "paused_ns": 5_000_000}
    proof = {"nonce": "ab", "counter": "1", "hash": "cd"}
    return {"trials": 1, "run": {"saved": saved}, "change": {"saved": saved},
            "proofs": {"warm": proof, "warm-lazy": proof},
            "restores": {"warm-lazy": [trial()], "warm-eager": [trial()]},
            "floor": {"floor/bare_kvm/64M": {"first_instruction_ns": 1_000_000},
                      "floor/bare_kvm/4096M": {"first_instruction_ns": 9_000_000},
                      "floor/memcpy_to_fresh/64M": {"memcpy_to_fresh_ns": 16_000_000}},
            "host": {"stasis": "stasis 1", "host": {"system": "Linux", "release": "6", "cpus": 2,
                                                    "machine": "x86_64", "memory_bytes": MIB}}}


def rendered(data: dict) -> str:
    text, page = demonstration_report.render(data)
    assert page.endswith("</html>\n")
    return text


class DemonstrationReportTest(unittest.TestCase):
    def row(self, text: str, name: str) -> list[str]:
        """The last line of the page that begins with `name`: its cells."""
        lines = [line for line in text.splitlines() if line.strip().startswith(name + "  ")]
        self.assertTrue(lines, text)
        return lines[-1].replace(name, "", 1).split("  ")

    def cells(self, text: str, name: str) -> list[str]:
        return [cell.strip() for cell in self.row(text, name) if cell.strip()]

    def test_multiples_are_of_the_floor_of_the_nearest_size(self):
        text = rendered(report())
        self.assertEqual(self.cells(text, "vcpu_enter"), ["2.00 ×", "2.00 ×"])
        self.assertEqual(self.cells(text, "first_instruction"), ["2.10 ×", "2.10 ×"])
        # 8 MiB at 4 MiB a millisecond are 2 ms; it took 1 ms. Lazy restores fill nothing early.
        self.assertEqual(self.cells(text, "header to prefetched / memcpy"), ["-", "0.50 ×"])
        self.assertIn("guest of 64 MiB take 1 ms, memcpy into fresh memory runs at 3.91 GiB/s", text)
        self.assertNotIn("No multiples", text)
        self.assertNotIn("No first instruction", text)

    def test_without_rows_of_the_bare_floor_there_are_dashes_and_the_reason(self):
        data = report()
        data["floor"] = {cell: metrics for cell, metrics in data["floor"].items()
                         if "bare_kvm" not in cell}
        data["floor_errors"] = {"floor/bare_kvm/64M": "not supported: the counter is <odd>"}
        text = rendered(data)
        for milestone in ("vcpu_enter", "first_instruction", "first_response"):
            self.assertEqual(self.cells(text, milestone), ["-", "-"])
        self.assertEqual(self.cells(text, "header to prefetched / memcpy"), ["-", "0.50 ×"])
        self.assertIn("No multiples of bare KVM calls: not supported: the counter is <odd>", text)
        self.assertNotIn("<odd>", demonstration_report.render(data)[1])  # Escaped there.

    def test_without_any_floor_row_it_says_that_none_was_measured(self):
        data = report()
        data["floor"] = {}
        text = rendered(data)
        self.assertIn("As multiples of the floor: none was measured", text)
        self.assertIn("No multiples of bare KVM calls: it was not measured", text)
        self.assertIn("No multiples of memcpy: it was not measured", text)
        self.assertEqual(self.cells(text, "header to prefetched / memcpy"), ["-", "-"])

    def test_a_floor_without_the_metric_is_no_floor(self):
        data = report()
        for cell in ("floor/bare_kvm/64M", "floor/bare_kvm/4096M"):
            data["floor"][cell] = {"open_ns": 5}
        self.assertIn("No multiples of bare KVM calls", rendered(data))

    def test_without_a_first_instruction_its_cells_are_dashes_and_the_reason_is_given(self):
        data = report()
        for name in data["restores"]:
            data["restores"][name] = [trial(first_instruction=None), trial(first_instruction=None)]
        text = rendered(data)
        self.assertEqual(self.cells(text, "first_instruction"), ["-", "-"])
        self.assertEqual(self.cells(text, "vcpu_enter"), ["2.00 ×", "2.00 ×"])
        self.assertIn("No first instruction: ", text)

    def test_one_trial_without_it_does_not_hide_the_others(self):
        data = report()
        data["restores"]["warm-lazy"] = [trial(first_instruction=None), trial()]
        text = rendered(data)
        self.assertEqual(self.cells(text, "first_instruction"), ["2.10 ×", "2.10 ×"])

    def test_restores_that_never_prefetched_have_no_filling_rate(self):
        data = report()
        data["restores"]["warm-eager"] = [trial(prefetched=None)]
        self.assertEqual(self.cells(rendered(data), "header to prefetched / memcpy"), ["-", "-"])


if __name__ == "__main__":
    unittest.main()
