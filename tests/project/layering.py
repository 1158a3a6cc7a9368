"""The architecture as a test: which folder may include which, and where a library may be named."""

import re
import sys
from pathlib import Path

from source_tree import finish, is_cpp, project_files, read_text, root_argument

# docs/architecture.md draws this table. tests/ and fuzz/ may use everything.
ALLOWED = {
    "core": {"core"},
    "schemas": {"schemas"},
    "snapshot": {"core", "schemas", "snapshot"},
    "mock": {"core", "mock"},
    "kvm": {"core", "kvm"},
    "hvf": {"core", "hvf"},
    "guests": {"core", "schemas", "guests"},  # The schema of what a Linux guest's kernel knows.
    "session": {"core", "snapshot", "mock", "kvm", "hvf", "guests", "session"},
    "experiments": {"core", "snapshot", "mock", "kvm", "hvf", "guests", "session", "experiments"},
    "cli": {"core", "snapshot", "mock", "kvm", "hvf", "guests", "session", "experiments", "cli"},
}

# A library is named in one place, so that replacing it touches that place alone. Each pattern is of
# an include; the expression beside it says which files may have it.
CONFINED = [
    # One file for each message, and three private headers that they share.
    (r"<(capnp|kj)/|\"schemas/",
     r"snapshot/(access_trace_codec|chunk_table|manifest_codec|vcpu_codec|working_set_codec)\.cc|snapshot/(record_codec|vcpu_codec|words)\.h"
     r"|guests/linux/state/(process_codec|thread_codec|file_codec)\.cc"
     r"|guests/linux/state/codec_parts\.h"
     r"|tests/snapshot/schema_test\.cc"),  # The schema itself is what that test is about.
    (r"<lz4", r"snapshot/page_codec\.cc|experiments/floor/.*\.cc"),  # floor: the library alone.
    (r"<xxhash", r"snapshot/checksum_kernels_code\.h|experiments/floor/.*\.cc"),
    (r"<linux/kvm\.h>", r"kvm/kvm_uapi\.h"),
    # Apple's, or on Linux ours, which hvf/sim implements.
    (r"<(Hypervisor/|os/object\.h)", r"hvf/framework_\w+\.cc|hvf/sim/.*|tests/hvf/.*"),
    (r"<libfdt", r"guests/arm64_linux/device_tree\.cc|tests/guests/arm64_linux/.*"),
    (r"<CLI/", r"cli/.*"),
    (r"<benchmark/", r"experiments/.*"),
    (r"<(gtest|gmock)/", r"tests/.*"),
]

INCLUDE = re.compile(r"^\s*#\s*include\s+([<\"][^>\"]+[>\"])", re.MULTILINE)
LINKED = re.compile(r"\bstasis::([a-z_]+)")


def check_includes(path: Path, text: str) -> list[str]:
    problems = []
    allowed = ALLOWED.get(path.parts[0])
    for include in INCLUDE.findall(text):
        target = include[1:-1].split("/")[0]
        if allowed is not None and target in ALLOWED and target not in allowed:
            problems.append(f"{path}: {path.parts[0]}/ must not include {target}/ ({include})")
        if include.startswith('"') and "/" not in include and allowed is not None:
            problems.append(f"{path}: {include} must name its folder")
        for pattern, places in CONFINED:
            if re.match(pattern, include) and not re.fullmatch(places, path.as_posix()):
                problems.append(f"{path}: only {places} may include {include}")
    return problems


def check_links(path: Path, text: str) -> list[str]:
    """A CMakeLists.txt links only what its folder may include."""
    allowed = ALLOWED.get(path.parts[0])
    if allowed is None:
        return []
    return [f"{path}: {path.parts[0]}/ must not link stasis::{name}"
            for name in LINKED.findall(text) if name in ALLOWED and name not in allowed]


def check(root: Path) -> tuple[list[str], int]:
    problems, checked = [], 0
    for path in project_files(root):
        if is_cpp(path):
            problems += check_includes(path, read_text(root, path) or "")
            checked += 1
        elif path.name == "CMakeLists.txt" and len(path.parts) > 1:
            problems += check_links(path, read_text(root, path) or "")
    return problems, checked


if __name__ == "__main__":
    sys.exit(finish("layering", *check(root_argument())))
