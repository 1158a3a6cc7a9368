"""Text with regular expressions: addresses, numbers and dates are found and masked, and
the words of what is left (masks too) are counted.

None of the papers' lists has it; it stands for log and text processing (SeBS and vSwarm have the like).
The expressions are compiled before the first request."""

import re

from stasis_digest import digest
from stasis_function import read_input, serve, text

PATTERNS = {
    "mail": re.compile(r"\b[a-z0-9._-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b", re.IGNORECASE),
    "date": re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b"),
    "phone": re.compile(r"\+\d{1,3}(?: \d{2,4}){2,4}\b"),
    "number": re.compile(r"\b\d+(?:\.\d+)?\b"),
}
WORD = re.compile(r"[^\W\d_]+")


def analyse(document):
    """The counts of each kind, and the document with every find replaced by its kind."""
    found = {}
    for kind, pattern in PATTERNS.items():
        document, found[kind] = pattern.subn(f"<{kind}>", document)
    counts = {}
    for match in WORD.finditer(document):
        word = match[0].lower()
        counts[word] = counts.get(word, 0) + 1
    frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return found, frequent, document


def handle(request):
    if "text" in request:
        document = text(request, "text", 10000)
    else:
        document = read_input(text(request, "file", 64)).decode()
    found, frequent, masked = analyse(document)
    return {"found": found, "words": len(frequent), "frequent": frequent[:3],
            "sha256": digest(masked, *(f"{word} {count}" for word, count in frequent))}


if __name__ == "__main__":
    serve(handle)
