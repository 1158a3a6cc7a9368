"""Turns the records of demonstration.py into a page of text and a page of HTML."""

from __future__ import annotations  # `X | None` is of Python 3.10; 3.9 will do.

import html
import statistics

MILESTONES = ["spawn", "header", "vm_created", "state", "mapped", "prefetched", "vcpu_enter",
              "first_instruction", "first_response", "resident_p90", "done"]


def duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def size(count: float) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


class Table:
    def __init__(self, title: str, header: list[str]):
        self.title, self.header, self.rows = title, header, []

    def add(self, *cells: str) -> None:
        self.rows.append(list(cells))

    def as_text(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        text = [self.title]
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            text.append("  " + "  ".join(cells).rstrip())
        return "\n".join(text) + "\n"

    def as_html(self) -> str:
        def row(tag: str, cells: list[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
        body = "\n".join(row("td", cells) for cells in self.rows)
        return (f"<h2>{html.escape(self.title)}</h2>\n<table>\n{row('th', self.header)}\n{body}\n"
                "</table>\n")


def milestone_values(trials: list[dict], name: str) -> list[float]:
    values = (trial["milestones_ns"].get(name) for trial in trials)
    return [value for value in values if value is not None]


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{duration(statistics.median(values))} ({duration(low)}..{duration(high)})"


def milestones(report: dict) -> Table:
    names = list(report["restores"])
    table = Table(f"Milestones since the restore was asked for: median (least..most) of "
                  f"{report['trials']} fresh processes", ["", *names])
    for milestone in MILESTONES:
        columns = [milestone_values(report["restores"][name], milestone) for name in names]
        if any(columns):
            table.add(milestone, *(spread(column) for column in columns))
    return table


def floor_cell(report: dict, name: str, metric: str) -> tuple[float, float] | None:
    """Of the cells "floor/NAME/SIZEM" that have the metric, the one of the size nearest to the
    guest's: its size in bytes and the metric. None without any."""
    wanted = report["run"]["saved"]["memory_bytes"]
    cells = {float(cell.rsplit("/", 1)[1].rstrip("M")) * 2**20: metrics[metric]
             for cell, metrics in report["floor"].items()
             if cell.startswith(f"floor/{name}/") and metrics.get(metric, 0) > 0}
    if not cells:
        return None
    nearest = min(cells, key=lambda bytes_: abs(bytes_ - wanted))
    return nearest, cells[nearest]


def why_no_floor(report: dict, name: str) -> str:
    """Why floor_cell() has none: what a trial of that floor said, or that there was none."""
    for cell, error in report.get("floor_errors", {}).items():
        if cell.startswith(f"floor/{name}/"):
            return error
    return "it was not measured"


def per_floor(values: list[float], floor: float | None) -> str:
    return f"{statistics.median(values) / floor:.2f} ×" if values and floor else "-"


def filling(trials: list[dict]) -> tuple[float, list[float]]:
    """How many bytes the restores filled, and for how many nanoseconds each did it."""
    filled = statistics.median(trial["counters"]["filled_bytes"] for trial in trials)
    ends = ((trial["milestones_ns"].get("header"), trial["milestones_ns"].get("prefetched"))
            for trial in trials)
    return filled, [end - begin for begin, end in ends if begin is not None and end is not None]


def multiples(report: dict) -> tuple[Table, list[str]]:
    """Restores held against bare KVM calls, and eager filling against memcpy; and a note on every
    row that could not be."""
    names = list(report["restores"])
    bare = floor_cell(report, "bare_kvm", "first_instruction_ns")
    copy = floor_cell(report, "memcpy_to_fresh", "memcpy_to_fresh_ns")
    titles, notes = [], []
    if bare:
        titles.append(f"bare KVM calls to the first instruction of a guest of {size(bare[0])} take "
                      f"{duration(bare[1])}")
    else:
        notes.append("No multiples of bare KVM calls: " + why_no_floor(report, "bare_kvm"))
    if copy:
        titles.append(f"memcpy into fresh memory runs at {copy[0] / copy[1] * 1e9 / 2**30:.3g} GiB/s")
    else:
        notes.append("No multiples of memcpy: " + why_no_floor(report, "memcpy_to_fresh"))
    table = Table("As multiples of the floor: " + (", ".join(titles) or "none was measured"),
                  ["", *names])
    for milestone in ("vcpu_enter", "first_instruction", "first_response"):
        columns = [milestone_values(report["restores"][name], milestone) for name in names]
        table.add(milestone, *(per_floor(column, bare[1] if bare else None) for column in columns))
    if not any(milestone_values(report["restores"][name], "first_instruction") for name in names):
        notes.append("No first instruction: the guest's time-stamp counter was not noted, or could not "
                     "be converted into the host's.")
    cells = []
    for name in names:
        filled, times = filling(report["restores"][name])
        eager = name.endswith("-eager") and copy and filled > 0
        cells.append(per_floor(times, filled * copy[1] / copy[0] if eager else None))
    table.add("header to prefetched / memcpy", *cells)
    return table, notes


def saves(report: dict) -> Table:
    table = Table("Saves", ["", "memory", "considered", "zero", "written", "guest paused"])
    for name, record in (("warm (full)", report["run"]), ("changed (difference)", report["change"])):
        saved = record["saved"]
        table.add(name, size(saved["memory_bytes"]), size(saved["dirty_bytes"]),
                  size(saved["zero_bytes"]), size(saved["written_bytes"]),
                  duration(saved["paused_ns"]))
    return table


def proofs(report: dict) -> Table:
    table = Table("What the guest proved: RAM-only nonce, requests counted, hash of its memory",
                  ["", "nonce", "requests", "memory hash"])
    for name, proof in report["proofs"].items():
        when = "at the save" if name in ("warm", "changed") else "restored"
        table.add(f"{name} ({when})", proof["nonce"], proof["counter"], proof["hash"])
    return table


def provenance(report: dict) -> list[str]:
    host = report["host"]
    machine = host["host"]
    backend = host.get("capabilities", {}).get("backend", "?")
    return [f"{host['stasis']}; {machine['system']} {machine['release']} {machine['machine']}, "
            f"{machine['cpus']} CPUs, {size(machine['memory_bytes'])} of memory, backend {backend}.",
            "The files were in the page cache (just written or read). A demonstration with few "
            "trials: for numbers to quote, run `stasis experiment run restore_latency`."]


def render(report: dict) -> tuple[str, str]:
    """The report as text and as a self-contained page."""
    against_floor, notes = multiples(report)
    tables = [proofs(report), saves(report), milestones(report), against_floor]
    notes += provenance(report)
    text = "\n".join(table.as_text() for table in tables) + "\n" + "\n".join(notes) + "\n"
    style = ("body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
             "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;"
             "border-bottom:1px solid #ccc;font-variant-numeric:tabular-nums}"
             "td:first-child,th:first-child{text-align:left}h2{font-size:1.05em;margin-top:2em}")
    page = (f"<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Stasis</title>\n"
            f"<style>{style}</style>\n<h1>Stasis: a warm guest, saved and restored</h1>\n"
            + "".join(table.as_html() for table in tables)
            + "".join(f"<p>{html.escape(note)}</p>\n" for note in notes) + "</html>\n")
    return text, page
