"""Keeps what stands in rows out of what is said about them.

Target's messages are quoted in log, report and `status`, and nothing keeps Target from quoting a row in them.
"""

import re
from collections.abc import Callable

from pipeline.core.rows.encoding import encode

#: What stands for a word that is left out.
MASK = "***"
#: Our own words about an answer, or a word: what stands between blanks, quotes, brackets and the like.
_WORD = re.compile(r"HTTP \d{3}\b|[^\s'\"<>()\[\]{},;:=]*[^\s'\"<>()\[\]{},;:=.!?]")
#: What is quoted from one masked word to the next: what is short in between is of the same cell.
_GAPS = re.compile(r"\*\*\*(?:\W*\b\w{1,3}\b)*\W*\*\*\*(?:(?:\W*\b\w{1,3}\b)*\W*\*\*\*)*")
#: Shorter words without a digit count only where they are a whole word of a cell: "in" is within half of all names.
_SHORT = 4
#: Longer messages are cut: each word is looked for in the whole batch.
_MAX_CHARS = 500
#: What a word of a cell stands between.
_ENDS = (b"\n", b",", b"%20")


def discreet(message: str, is_in_rows: Callable[[bytes], bool]) -> str:
    """A message without the words that occur in the rows of the batch it is about.

    `is_in_rows` says whether bytes occur in the rows as they are sent, header left out: each row ends in a line feed,
    and so does what is before the first one.
    """

    def masked(found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith("HTTP "):
            return word
        # Target may quote what it was sent, or what that means.
        forms = {encode(word.encode()), word.encode()}
        if not any(map(is_in_rows, forms)):
            return word
        if len(word) >= _SHORT or any(character.isdigit() for character in word):
            return MASK
        cells = (before + form + after for form in forms for before in _ENDS for after in _ENDS)
        return MASK if any(map(is_in_rows, cells)) else word

    return _GAPS.sub(MASK, _WORD.sub(masked, message[:_MAX_CHARS]))
