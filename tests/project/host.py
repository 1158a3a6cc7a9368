"""What this host can do, as far as the tests depend on it: the conditions of expected_skips.txt."""

import ctypes
import fcntl
import mmap
import os
import shutil
import tempfile
from pathlib import Path

KVM_GET_API_VERSION = 0xAE00
CAP_SYS_ADMIN = 21
SYS_USERFAULTFD = 323  # x86-64.


def kvm_works() -> bool:
    """/dev/kvm exists, may be opened, and is KVM with its stable interface."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return fcntl.ioctl(fd, KVM_GET_API_VERSION) == 12
    except OSError:
        return False
    finally:
        os.close(fd)


def userfaultfd_works() -> bool:
    fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def soft_dirty_works() -> bool:
    """A page that was just written has bit 55 of its page map entry."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, mmap.PAGESIZE, flags=flags) as page, open("/proc/self/pagemap", "rb") as entries:
        page[0] = 1
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        entries.seek(address // mmap.PAGESIZE * 8)
        return bool(int.from_bytes(entries.read(8), "little") >> 55 & 1)


def may_mount() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def missing_programs() -> dict[str, bool]:
    """The conditions of the functions' tests: sections "functions" and "test" of scripts/packages."""
    modules = Path("/usr/lib/python3/dist-packages")
    needed = {"no-busybox": Path("/usr/bin/busybox"), "no-dash": Path("/usr/bin/dash"),
              "no-lua": Path("/usr/bin/lua5.4"), "no-node": Path("/usr/bin/node"),
              "no-numpy": modules / "numpy", "no-pillow": modules / "PIL",
              "no-chameleon": modules / "chameleon", "no-strace": Path("/usr/bin/strace"),
              "no-openssl": Path("/usr/bin/openssl"), "no-sqlite": Path("/usr/bin/sqlite3"),
              "no-xz": Path("/usr/bin/xz"), "no-zstd": Path("/usr/bin/zstd"),
              "no-python-tests": Path("/usr/lib/python3.11/test/test_bisect.py")}
    return {condition: not path.exists() for condition, path in needed.items()}


def hvf_sim_works() -> bool:
    """What hvf/sim needs: QEMU as its CPU, and the tools that build its monitor."""
    return all(shutil.which(name) for name in ("qemu-system-aarch64", "clang++", "ld.lld"))


def linux_arm64_is_there() -> bool:
    """What scripts/fetch-linux-arm64 leaves where stasis looks for it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("STASIS_LINUX_ARM64") or cache / "stasis/linux-arm64")
    return (folder / "Image").is_file() and (folder / "initrd.cpio").is_file()


def temporary_folder_is_memory() -> bool:
    """The file system of the longest mount point that holds the temporary folder is a tmpfs."""
    folder = os.path.realpath(tempfile.gettempdir())
    best = ("", "")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind = line.split()[:3]
        if (folder + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1] in {"tmpfs", "ramfs"}


def conditions() -> dict[str, bool]:
    if os.uname().sysname != "Linux":
        return {"always": True, "no-linux": True, "no-kvm": True}
    flags = cpu_flags()
    return {
        "always": True,
        "no-linux": False,
        "no-kvm": not kvm_works(),
        "no-hvf-sim": not hvf_sim_works(),
        "no-linux-arm64": not hvf_sim_works() or not linux_arm64_is_there(),
        "no-kvm-pvm": not kvm_works() or not os.access("/sys/module/kvm_pvm", os.F_OK),
        "no-userfaultfd": not userfaultfd_works(),
        "no-soft-dirty": not soft_dirty_works(),
        "no-child-lists": not os.access("/proc/thread-self/children", os.F_OK),
        "no-mount": not may_mount(),
        "no-avx": "avx" not in flags,
        "no-avx512": "avx512f" not in flags,
        "tmpfs": temporary_folder_is_memory(),
        "no-chromium": not any(shutil.which(name) for name in
                               ("chromium", "chromium-browser", "google-chrome", "chrome")),
        **missing_programs(),
    }
