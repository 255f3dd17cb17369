"""Passages of documentation: is one from Python's own help, or from NumPy's docstrings? Both are always there.

They stand in for film reviews: two classes of text, in the numbering of `relprop.data.imdb`. The texts are those of
the Python and NumPy that run this, so they differ a little from version to version.
"""

import inspect
import re
from collections import Counter

import numpy as np

from relprop.data.imdb import FIRST, START, UNKNOWN, WORD, pad, vocabulary

__all__ = ["LIBRARIES", "documentation", "paragraphs", "passages"]

LIBRARIES = ("Python", "NumPy")
PARAGRAPHS = 20  # that lie together in one part
OVERLAP = 6  # passages to train on that a word is in
HELD_OUT = 5  # one block of paragraphs in five


def documentation(words=2000, length=60):
    """((train, labels), (test, labels), words): numbers (n, length) of passages, labels 0 for Python, 1 for NumPy.

    Both libraries have as many passages in a part. A paragraph that occurs twice is read once, so that none is in both
    parts. The last is the word of each number.
    """
    found = {part: [passages(library, part, length - 1) for library in LIBRARIES] for part in ("train", "test")}
    counts = Counter(word for library in found["train"] for passage in library for word in passage)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: words - FIRST - 1]
    number = {word: FIRST + k for k, word in enumerate(ranked, 1)}
    parts = []
    for of_library in found.values():
        n = min(map(len, of_library))
        chosen = [texts[k] for texts in of_library for k in np.linspace(0, len(texts) - 1, n).round().astype(int)]
        ids = [[START, *(number.get(word, UNKNOWN) for word in text)] for text in chosen]
        parts.append((pad(ids, length), np.repeat(np.arange(len(LIBRARIES)), n)))
    return *parts, vocabulary(ranked, words)


def passages(library, part, words):
    """Lists of `words` words of a library, of the paragraphs in one part: "test", or "train", where they overlap."""
    running = " ".join(paragraphs(library, part)).split()
    return [
        running[k : k + words]
        for k in range(0, len(running) - words + 1, words // OVERLAP if part == "train" else words)
    ]


def paragraphs(library, part):
    """The paragraphs of a library in one part, as their words with spaces between: one block in five is held out."""
    found = [p for text in _texts(library) for p in re.split(r"\n\s*\n", text)]
    unique = list(dict.fromkeys(" ".join(WORD.findall(p.lower())) for p in found))
    return [p for k, p in enumerate(unique) if (k // PARAGRAPHS % HELD_OUT == 0) == (part == "test")]


def _texts(library):
    if library == "Python":
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
    public = {(m.__name__, n): getattr(m, n) for m in (np, np.fft, np.linalg, np.random) for n in sorted(m.__all__)}
    return [inspect.getdoc(value) or "" for value in public.values() if callable(value)]
