"""The Penn Treebank as plain text, one sentence a line: ptb.train.txt, ptb.valid.txt and ptb.test.txt."""

from relprop.data.damaged import damaged, read_bytes, the_file

__all__ = ["penn_treebank", "read_words"]

PARTS = ("train", "valid", "test")


def read_words(path):
    """The words of a file of sentences, one a line, with <eos> after each.

    Raises
        ValueError  bytes that are no UTF-8, a control character, or an empty file, with the place.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, error.start, f"{data[error.start : error.start + 1].hex()} is no UTF-8") from error
    for place, letter in enumerate(text):
        if letter < " " and letter not in "\n\r\t":
            raise damaged(path, len(text[:place].encode()), f"control character {ord(letter):02x}, expected text")
    words = [word for line in text.splitlines() if line.split() for word in (*line.split(), "<eos>")]
    if not words:
        raise damaged(path, 0, "the file holds no words")
    return words


def penn_treebank(folder):
    """{"train", "valid", "test": list of words}.

    Raises
        ValueError  a missing or damaged file.
    """
    return {part: read_words(the_file(folder, f"ptb.{part}.txt")) for part in PARTS}
