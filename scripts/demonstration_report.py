"""Turns the records of demonstration.py into a page of text and a page of HTML."""

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


def floor_cell(report: dict, name: str) -> tuple[float, dict[str, float]]:
    """The cell "floor/NAME/SIZEM" of the size nearest to the guest's, and its size in bytes."""
    wanted = report["run"]["saved"]["memory_bytes"]
    cells = {float(cell.rsplit("/", 1)[1].rstrip("M")) * 2**20: metrics
             for cell, metrics in report["floor"].items() if cell.startswith(f"floor/{name}/")}
    nearest = min(cells, key=lambda bytes_: abs(bytes_ - wanted))
    return nearest, cells[nearest]


def multiples(report: dict) -> Table:
    """Restores held against bare KVM calls, and eager filling against memcpy."""
    names = list(report["restores"])
    bare_bytes, bare_metrics = floor_cell(report, "bare_kvm")
    bare = bare_metrics["first_instruction_ns"]
    copied_bytes, copy_metrics = floor_cell(report, "memcpy_to_fresh")
    copy_rate = copied_bytes / copy_metrics["memcpy_to_fresh_ns"]  # Bytes a nanosecond.
    table = Table(f"As multiples of the floor: bare KVM calls to the first instruction of a guest of "
                  f"{size(bare_bytes)} take {duration(bare)}, memcpy into fresh memory runs at "
                  f"{copy_rate * 1e9 / 2**30:.3g} GiB/s", ["", *names])
    for milestone in ("vcpu_enter", "first_instruction", "first_response"):
        columns = [milestone_values(report["restores"][name], milestone) for name in names]
        table.add(milestone, *(f"{statistics.median(column) / bare:.2f} ×" if column else "-"
                               for column in columns))
    cells = []
    for name in names:
        trials = report["restores"][name]
        filled = statistics.median(trial["counters"]["filled_bytes"] for trial in trials)
        times = [trial["milestones_ns"]["prefetched"] - trial["milestones_ns"]["header"]
                 for trial in trials if trial["milestones_ns"]["prefetched"] is not None]
        eager = name.endswith("-eager") and times and filled > 0
        cells.append(f"{statistics.median(times) / (filled / copy_rate):.2f} ×" if eager else "-")
    table.add("header to prefetched / memcpy", *cells)
    return table


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
    tables = [proofs(report), saves(report), milestones(report), multiples(report)]
    notes = provenance(report)
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
