"""Words that look like words, of which few are common and most are rare, as in real text."""

from streams import Stream

WORDS = 3000
ONSETS = ("b", "br", "c", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pl", "r", "s", "st",
          "t", "tr", "v", "w")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ("", "", "", "n", "r", "s", "t", "l", "nd", "ck")


class Corpus:
    """Immutable. vocabulary has its words by rank, the most common first."""

    def __init__(self):
        random = Stream("corpus")

        def syllable():
            return (ONSETS[random.below(len(ONSETS))] + VOWELS[random.below(len(VOWELS))]
                    + CODAS[random.below(len(CODAS))])

        words = {}  # As an ordered set.
        while len(words) < WORDS:
            words["".join(syllable() for _ in range(1 + random.below(3)))] = None
        self.vocabulary = tuple(words)

    def word(self, random):
        """The ranks of words follow Zipf's law nearly: each doubling of the rank is equally likely."""
        octave = random.below(WORDS.bit_length())
        return self.vocabulary[min(WORDS - 1, (1 << octave) - 1 + random.below(1 << octave))]

    def sentence(self, random, words):
        """So many words with a capital letter in front and a full stop behind."""
        return " ".join(self.word(random) for _ in range(words)).capitalize() + "."

    def document(self, random, size_bytes):
        """Sentences in lines, of about that size in all."""
        lines, size = [], 0
        while size < size_bytes:
            lines.append(self.sentence(random, 5 + random.below(12)))
            size += len(lines[-1]) + 1
        return ("\n".join(lines) + "\n").encode()
