"""The dialect of an export: the bytes that separate, enclose and escape its cells, and those that end its lines."""

from dataclasses import dataclass

import numpy as np

_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The way an export is written. Each of the first three is one ASCII character, or none where it may be empty.

    `quote`: encloses cells that hold delimiters or line breaks; empty: quotes are data like the rest.
    `escape`: takes a quote, a delimiter, a line break or itself literally if it stands before it, in quotes and
    outside; before anything else it is data. Spark and Redshift write it before these only, and `\\N`, which stands for
    no value in exports of databases, stays as it is. Empty: only a doubled quote stands for one.
    `cr_ends_lines`: CR alone ends lines too, as LF and CR LF do; else it is data.
    """

    delimiter: bytes
    quote: bytes = b'"'
    escape: bytes = b""
    cr_ends_lines: bool = False

    def is_regular(self, source: bytes) -> bool:
        """True if these bytes mean the same without an escape and with the quote of RFC 4180.

        Then they can be framed at once; otherwise each record is framed by the letter.
        """
        if self.escape and self.escape in source:
            return False
        return self.quote == b'"' or not (b'"' in source or (self.quote and self.quote in source))

    @property
    def quoting(self) -> bytes:
        """The characters that take others literally."""
        return self.quote + self.escape

    def with_line_feeds(self, source: bytes, *, at_end: bool = False) -> bytes:
        """The same bytes, with an LF for each CR that ends a line by itself: no byte is added or moved.

        A CR at the end of `source` stays unless the file is `at_end`: an LF may follow it. Without `cr_ends_lines` this
        is `source` itself.
        """
        if not self.cr_ends_lines or b"\r" not in source:
            return source
        octets = np.frombuffer(bytearray(source), dtype=np.uint8)
        is_line_end = octets == _CARRIAGE_RETURN
        is_line_end[:-1] &= octets[1:] != _LINE_FEED
        is_line_end[-1] &= at_end
        octets[is_line_end] = _LINE_FEED
        return octets.tobytes()
