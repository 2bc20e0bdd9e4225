"""The text of a file in UTF-8: unpacked and decoded, as its first bytes tell."""

from collections.abc import Callable, Iterator

from pipeline.core.errors import InputError
from pipeline.core.formats.file_kind import HEAD_BYTES, codec_of, refusal
from pipeline.core.formats.packing import head_of, packing_of, unpack
from pipeline.core.formats.text_codec import to_utf8

#: Makes of the bytes of a file what is given.
AsText = Callable[[Iterator[bytes]], Iterator[bytes]]


def as_text(content: Callable[[], Iterator[bytes]], encoding: str, *, is_unpacked: bool = False) -> AsText:
    """The function that gives the text of a file in UTF-8, told by its first bytes. Raises `InputError` (65).

    `content`: gives its bytes, from the first one each time it is called.
    `is_unpacked`: it is a member of a zip archive. One archive within another is refused: together they could grow by
    as much as both may.
    """
    head = head_of(content(), HEAD_BYTES)
    packing = packing_of(head)
    if packing is not None and is_unpacked:
        raise InputError(f"it is a {packing.name} archive within a zip archive: unpack it once.")
    if packing is not None:
        head = head_of(unpack(content(), packing), HEAD_BYTES)
        if inner := packing_of(head):
            raise InputError(f"it is a {inner.name} archive within a {packing.name} archive: unpack it once.")
    if told := refusal(head):
        raise InputError(f"it {told}.")
    codec = codec_of(head, encoding)

    def text(blocks: Iterator[bytes]) -> Iterator[bytes]:
        blocks = unpack(blocks, packing) if packing else blocks
        return to_utf8(blocks, codec) if codec else blocks

    return text
