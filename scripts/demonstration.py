"""The demonstration of scripts/quickstart: warm, save, change, save the difference, restore, prove.

Runs the program `stasis` as a user would, each restore in a fresh process, and keeps what it says
(--json) in OUT/records. demonstration_report.py turns the records into tables."""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import demonstration_report

# The guest answers this one itself: nonce and counter from its RAM, and a hash over its memory.
PROVE = "@prove"
POLICIES = {"lazy": ["--policy", "lazy"], "eager": ["--policy", "eager", "--threads", "2"]}


class Failed(Exception):
    """A step that did not do what it should; the message is for the user."""


def parse_proof(response: str) -> dict[str, str]:
    fields = dict(word.split("=", 1) for word in response.split() if "=" in word)
    if not {"nonce", "counter", "hash"} <= fields.keys():
        raise Failed(f"the guest's proof is not one: {response!r}")
    return fields


class Demonstration:
    def __init__(self, options: argparse.Namespace):
        self.stasis = str(options.stasis)
        self.options = options
        self.out = Path(options.out)
        self.records = self.out / "records"
        self.warm = self.out / "warm"
        self.changed = self.out / "changed"
        self.prove = self.out / "prove.request"
        self.report: dict = {"restores": {}, "proofs": {}, "trials": options.trials}

    def say(self, text: str) -> None:
        print(text, flush=True)

    def run(self, name: str, *arguments: str, spawned: bool = False) -> dict:
        """Runs one command; what it said as JSON, kept under `name`."""
        command = [self.stasis, *arguments, "--json", "--quiet"]
        if "--" in arguments:  # What follows belongs to the guest.
            at = arguments.index("--")
            command = [self.stasis, *arguments[:at], "--json", "--quiet", *arguments[at:]]
        if spawned:  # The milestone "spawn" is the moment before the process exists.
            command += ["--spawned-at", str(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Failed(f"`{' '.join(command)}` failed ({done.returncode}):\n"
                         f"{done.stdout}{done.stderr}".rstrip())
        (self.records / f"{name}.json").write_text(done.stdout, encoding="utf-8")
        return json.loads(done.stdout)

    def check_host(self) -> None:
        done = subprocess.run([self.stasis, "doctor"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{done.stdout}{done.stderr}\nThis host cannot run the demonstration; the "
                         "reasons and cures are above. scripts/test works without KVM.")
        self.report["host"] = self.run("doctor", "doctor")

    def boot_and_save(self) -> None:
        self.say(f"1. boot kvstore, load {self.options.data} MiB, save it whole as {self.warm}")
        record = self.run("run", "run", "kvstore", "--memory", self.options.memory,
                          "--request", "put quickstart:before saved whole",
                          "--request", f"@{self.prove}", "--save", str(self.warm),
                          "--", f"size={self.options.data}")
        self.report["run"] = record
        self.report["proofs"]["warm"] = parse_proof(record["requests"][-1]["response"])

    def change_and_save(self) -> None:
        self.say(f"2. restore it, change it, save the difference as {self.changed}")
        record = self.run("change", "restore", str(self.warm), "--policy", "lazy",
                          "--tracker", "auto", "--request", "put quickstart:after saved as a difference",
                          "--request", "mix n=2000 seed=7 write=20",
                          "--request", f"@{self.prove}", "--save", str(self.changed), "--diff")
        self.report["change"] = record
        self.report["proofs"]["changed"] = parse_proof(record["trials"][-1]["requests"][-1]["response"])

    def verify(self) -> None:
        self.report["verify"] = self.run("verify", "verify", str(self.changed))

    def restore_all(self) -> None:
        self.say("3. restore both, lazily and eagerly, each time in a fresh process, and let the guest "
                 "prove it")
        for snapshot, key in ((self.warm, "quickstart:before"), (self.changed, "quickstart:after")):
            for policy, arguments in POLICIES.items():
                name = f"{snapshot.name}-{policy}"
                self.prove_restore(name, snapshot, arguments)
                self.report["restores"][name] = [
                    self.run(f"restore-{name}-{trial}", "restore", str(snapshot), *arguments,
                             "--request", f"get {key}", spawned=True)["trials"][-1]
                    for trial in range(self.options.trials)]

    def prove_restore(self, name: str, snapshot: Path, arguments: list[str]) -> None:
        record = self.run(f"prove-{name}", "restore", str(snapshot), *arguments,
                          "--request", f"@{self.prove}")
        proof = parse_proof(record["trials"][-1]["requests"][0]["response"])
        saved = self.report["proofs"][snapshot.name]
        self.report["proofs"][name] = proof
        for field in ("nonce", "hash"):
            if proof[field] != saved[field]:
                raise Failed(f"{name}: the guest is not the one that was saved: its {field} is "
                             f"{proof[field]}, saved was {saved[field]}")
        # One request, this one, has come since the save.
        if int(proof["counter"]) != int(saved["counter"]) + 1:
            raise Failed(f"{name}: the guest has counted {proof['counter']} requests, after "
                         f"{saved['counter']} at the save and one since")
        self.say(f"   {name:<14} proven: nonce {proof['nonce'][:8]}…, request {saved['counter']} → "
                 f"{proof['counter']}, memory hash {proof['hash']}")

    def measure_floor(self) -> None:
        self.say("4. measure the physical floor of this host")
        directory = self.out / "floor"
        self.report["floor_run"] = self.run("floor", "experiment", "run", "floor", "--quick", "--out",
                                            str(directory))
        cells: dict[str, dict[str, list[float]]] = {}
        errors: dict[str, str] = {}
        with open(directory / "rows.jsonl", encoding="utf-8") as rows:
            for line in rows:
                row = json.loads(line)
                if row.get("error"):
                    errors.setdefault(row["cell"], row["error"])
                if row.get("warmup") or row.get("error"):
                    continue
                for metric, value in row["metrics"].items():
                    cells.setdefault(row["cell"], {}).setdefault(metric, []).append(value)
        self.report["floor"] = {cell: {metric: statistics.median(values)
                                       for metric, values in metrics.items()}
                                for cell, metrics in cells.items()}
        self.report["floor_errors"] = errors

    def go(self) -> None:
        if self.out.exists():
            if not self.records.is_dir() and any(self.out.iterdir()):
                raise Failed(f"{self.out} exists and is not of an earlier run; choose another --out")
            shutil.rmtree(self.out)
        self.records.mkdir(parents=True)
        self.prove.write_text(PROVE, encoding="utf-8")
        self.check_host()
        self.boot_and_save()
        self.change_and_save()
        self.verify()
        self.restore_all()
        self.measure_floor()
        text, html = demonstration_report.render(self.report)
        (self.out / "report.txt").write_text(text, encoding="utf-8")
        (self.out / "report.html").write_text(html, encoding="utf-8")
        self.say("\n" + text)
        self.say(f"report: {self.out}/report.html and report.txt\n"
                 f"yours to play with: {self.stasis} restore {self.changed} --request 'scan 0 5'")

    def clean_up(self) -> None:
        """Removes what a broken-off run leaves; the records stay, they say what happened."""
        for folder in (self.warm, self.changed):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stasis", type=Path, required=True, help="the program")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--data", type=int, default=200)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--out", default="out/quickstart")
    demonstration = Demonstration(parser.parse_args())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # As Ctrl-C.
    try:
        demonstration.go()
    except Failed as failure:
        print(f"quickstart: {failure}", file=sys.stderr)
        demonstration.clean_up()
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: interrupted; the unfinished snapshots are removed", file=sys.stderr)
        demonstration.clean_up()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
