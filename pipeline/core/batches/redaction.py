"""Removes the content of rows from messages about them.

Log, report and `status` quote Target's messages, and Target may quote a row in a message.
"""

import re
from collections.abc import Callable

from pipeline.core.rows.encoding import encode

#: The text that replaces a word.
MASK = "***"
#: Our own words about an answer ("HTTP 500"), or a word: the text between blanks, quotes, brackets and the like.
_WORD = re.compile(r"HTTP \d{3}\b|[^\s'\"<>()\[\]{},;:=]*[^\s'\"<>()\[\]{},;:=.!?]")
#: Masked words with only short words between them, which are probably of the same cell.
_GAPS = re.compile(r"\*\*\*(?:\W*\b\w{1,3}\b)*\W*\*\*\*(?:(?:\W*\b\w{1,3}\b)*\W*\*\*\*)*")
#: Characters. A shorter word without a digit is masked only if it is a whole word of a cell: "in" is within half of all
#: names.
_SHORT = 4
#: Characters at which a message is cut: each word is searched in the whole batch.
_MAX_CHARS = 500
#: The limits of a word in a cell.
_ENDS = (b"\n", b",", b"%20")


def discreet(message: str, is_in_rows: Callable[[bytes], bool]) -> str:
    """A message without the words that occur in the rows of the batch that it is about.

    `is_in_rows`: True if these bytes occur in the rows as they are sent, without the header. Each row ends with a line
    feed, and there is one before the first row too.
    """

    def masked(found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith("HTTP "):
            return word
        # Target may quote a value encoded, as it was sent, or decoded.
        forms = {encode(word.encode()), word.encode()}
        if not any(map(is_in_rows, forms)):
            return word
        if len(word) >= _SHORT or any(character.isdigit() for character in word):
            return MASK
        cells = (before + form + after for form in forms for before in _ENDS for after in _ENDS)
        return MASK if any(map(is_in_rows, cells)) else word

    return _GAPS.sub(MASK, _WORD.sub(masked, message[:_MAX_CHARS]))
