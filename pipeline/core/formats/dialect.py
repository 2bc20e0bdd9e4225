"""The dialect of an export: the bytes that separate, enclose and escape its cells, and those that end its lines."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.core.model import Octets, Offsets

#: The cells in which an escape counts, see `Dialect`.
EscapeIn = Literal["all", "quotes"]

_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"
_QUOTE = b'"'
_NOWHERE: Offsets = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The way an export is written. Each of the first three is one ASCII character, or none where it may be empty.

    `quote`: encloses cells that hold delimiters or line breaks; empty: quotes are data like the rest.
    `escape`: takes what it stands before literally, if that is one of `escapable`; before anything else it is data, so
    that `\\N`, which stands for no value in exports of databases, stays. Empty: only a doubled quote stands for one.
    `escape_in`: `all` cells, with quotes and without: as Redshift writes it before quotes, delimiters, line breaks and
    itself. Or `quotes`: in cells with quotes only, before a quote and itself, as Spark does; in others it is data.
    `cr_ends_lines`: CR alone ends lines too, as LF and CR LF do; else it is data.
    `cr_lf_ends_lines`: lines end with CR LF, so that an escape before a CR LF takes both. Where they end with LF, it
    takes the CR alone: Redshift escapes each of the two, and a CR may be the last of a row.
    """

    delimiter: bytes
    quote: bytes = b'"'
    escape: bytes = b""
    cr_ends_lines: bool = False
    escape_in: EscapeIn = "all"
    cr_lf_ends_lines: bool = False

    @property
    def escapable(self) -> bytes:
        """The characters that the escape takes literally."""
        return self.quoting if self.escape_in == "quotes" else self.delimiter + self.quoting + b"\r\n"

    @property
    def escapes_cr_lf(self) -> bool:
        """True if the escape takes a CR LF as one line break."""
        return self.cr_lf_ends_lines and self.escape_in == "all"

    def taken_literally(self, octets: Octets) -> Offsets:
        """The offsets of the bytes of a buffer, which has LF for all line ends, that an escape takes literally.

        Where fields and quotes begin makes no difference: in a run of escapes each takes the next one literally, and
        the last of an odd number may take what follows. That is so too where escapes count in quotes only: a quote
        behind one opens no field, in quotes it is literal, and elsewhere it is data.
        """
        if not self.escape:
            return _NOWHERE
        escapes = np.flatnonzero(octets == self.escape[0])
        if not len(escapes):
            return _NOWHERE
        begins_run = np.ones(len(escapes), dtype=np.bool_)
        begins_run[1:] = np.diff(escapes) > 1
        places = np.arange(len(escapes))
        firsts = places[begins_run][np.cumsum(begins_run) - 1]
        behind = escapes[(places - firsts) & 1 == 0] + 1
        behind = behind[behind < len(octets)]
        may_be_escaped = np.zeros(256, dtype=np.bool_)
        may_be_escaped[[*self.escapable]] = True
        literal: Offsets = behind[may_be_escaped[octets[behind]]]
        return self._with_whole_line_breaks(octets, literal) if self.escapes_cr_lf else literal

    def _with_whole_line_breaks(self, octets: Octets, literal: Offsets) -> Offsets:
        feeds = literal[octets[literal] == _CARRIAGE_RETURN] + 1
        feeds = feeds[feeds < len(octets)]
        return np.union1d(literal, feeds[octets[feeds] == _LINE_FEED])

    def beyond_rfc(self, source: bytes, octets: Octets, literal: Offsets) -> Offsets:
        """The offsets of the bytes by which a record means something else in RFC 4180, with this delimiter.

        `octets`: the buffer `source`, with LF for all line ends.
        `literal`: those that an escape takes literally.

        Those are what is escaped, and all quotes if they are others than those of RFC 4180.
        """
        if self.quote == _QUOTE or not (_QUOTE in source or (self.quote and self.quote in source)):
            return literal
        is_quote = octets == ord(_QUOTE)
        if self.quote:
            is_quote |= octets == self.quote[0]
        return np.union1d(literal, np.flatnonzero(is_quote))

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
