"""The text of a file in UTF-8: unpacked and decoded, as its first bytes tell."""

from collections.abc import Callable, Iterator

from pipeline.core.errors import InputError
from pipeline.core.formats.file_kind import codec_of, is_gzip, refusal
from pipeline.core.formats.gunzip import gunzip
from pipeline.core.formats.text_codec import to_utf8

#: Makes of the bytes of a file what is given.
AsText = Callable[[Iterator[bytes]], Iterator[bytes]]


def as_text(head: bytes, encoding: str) -> AsText:
    """The function that gives the text of a file in UTF-8, told by its first bytes. Raises `InputError` (65)."""
    if is_packed := is_gzip(head):
        head = next(gunzip(iter([head])), b"")
        if is_gzip(head):
            raise InputError("it is a gzip archive within a gzip archive: unpack it once.")
    if told := refusal(head):
        raise InputError(f"it {told}.")
    codec = codec_of(head, encoding)

    def text(blocks: Iterator[bytes]) -> Iterator[bytes]:
        blocks = gunzip(blocks) if is_packed else blocks
        return to_utf8(blocks, codec) if codec else blocks

    return text
