"""English that ships with Python itself: the topics of `help()`, which pydoc keeps."""

import re

__all__ = ["python_words"]

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[.,;:()]|\n\n")


def python_words():
    """The words of pydoc's topics in lower case, with <eos> where a paragraph ends.

    The text is that of the Python that runs this, so it differs a little from version to version.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics)).lower()
    return ["<eos>" if word == "\n\n" else word for word in WORD.findall(text)]
