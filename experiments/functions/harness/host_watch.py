"""What a host has less of when programs do not clean up behind them: memory, processes, files, and the
descriptors and mappings of a program that goes on."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.002
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Use:
    """A value: what one process had at one time."""

    resident_bytes: int
    descriptors: int
    mappings: int


def use_of(pid):
    """The use of a process; None when it is no more. See proc(5)."""
    folder = Path("/proc", str(pid))
    try:
        resident = int((folder / "statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
        mappings = (folder / "maps").read_bytes().count(b"\n")
        return Use(resident, len(os.listdir(folder / "fd")), mappings) if mappings else None
    except OSError:
        return None


class Watch:
    """A context manager: samples a process from a thread until the context ends. Then samples has them
    in order of time."""

    def __init__(self, pid):
        self.samples = []
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _sample(self):
        while not self._over.wait(SAMPLE_SECONDS):
            use = use_of(self._pid)
            if use is not None:
                self.samples.append(use)


def growth(samples):
    """By how much the peaks of the last third are above those of the first: of a program that repeats
    one thing and keeps nothing, nearly nothing. None when there are too few samples."""
    third = len(samples) // 3
    if third < 3:
        return None
    first, last = samples[:third], samples[-third:]

    def grown(name):
        return max(getattr(use, name) for use in last) - max(getattr(use, name) for use in first)

    return Use(grown("resident_bytes"), grown("descriptors"), grown("mappings"))


def available_bytes():
    """MemAvailable of the host (proc(5))."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def files_below(folder):
    """Every file and folder below, with size and time of change of the files."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        found[str(path)] = None if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def processes_naming(text):
    """The command lines of the processes, other than this one, that name the text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # It ended meanwhile.
        if text in command and int(folder.name) != os.getpid():
            found.append(command)
    return found
