"""Packed exports: what is cut off, damaged or made to burst is never taken for an export."""

from tests.mends import Mend

_PACKING = "pipeline/core/formats/packing.py"
_MEMBER = "pipeline/core/formats/gzip_member.py"
_UNITS = "tests/core/formats/test_packing.py"

_ZIP = "pipeline/edges/containers/zip_archive.py"
_ZIP_UNITS = "tests/edges/containers/test_zip_archive.py"

MENDS = [
    Mend(
        "pack: members of a zip archive lie one behind the other",
        ("archive",),
        _ZIP,
        "        is_within = end <= info.header_offset",
        "        is_within = 0 <= info.header_offset",
        f"{_ZIP_UNITS}::test_two_members_in_one_place",
    ),
    Mend(
        "pack: a member of a zip archive is what was packed",
        ("archive",),
        _ZIP,
        "        if given != self.info.file_size or checksum != self.info.CRC:\n",
        "        if given != self.info.file_size:\n",
        f"{_ZIP_UNITS}::test_damaged_anywhere[stored]",
    ),
    Mend(
        "pack: a member of a zip archive holds no more than is said",
        ("archive",),
        _ZIP,
        "    if given > max(JUDGED_FROM_BYTES, limit * taken):\n",
        "    if given < 0:\n",
        f"{_ZIP_UNITS}::test_refused_before_anything_is_read[a bomb]",
    ),
    Mend(
        "pack: the directory of a zip archive is not read whatever its size",
        ("archive",),
        _ZIP,
        "        if size > max(MAX_DIRECTORY_BYTES, _END_BYTES + _MAX_COMMENT_BYTES):\n",
        "        if size < 0:\n",
        f"{_ZIP_UNITS}::test_refused_before_anything_is_read[long names]",
    ),
    Mend(
        "pack: an archive that ends within a member is cut off",
        ("archive",),
        _PACKING,
        "        if self._stream is not None:\n",
        "        if self._stream is not None and not self._taken:\n",
        f"{_UNITS}::test_cut_off_anywhere[zstd-7]",
    ),
    Mend(
        "pack: an archive may not grow beyond measure",
        ("archive",),
        _PACKING,
        "self.max_inflation * self.taken):\n",
        "MAX_CONTENT_BYTES):\n",
        f"{_UNITS}::test_a_bomb_ends[zstd]",
    ),
    Mend(
        "pack: a decompressor gives a block at most",
        ("archive",),
        _PACKING,
        "                piece = stream.decompress(packed, BLOCK_BYTES)\n",
        "                piece = stream.decompress(packed)\n",
        f"{_UNITS}::test_a_bomb_ends[bzip2]",
    ),
    Mend(
        "pack: small pieces are joined",
        ("archive",),
        _PACKING,
        "            if size + len(piece) > BLOCK_BYTES:\n",
        "            if ready:\n",
        f"{_UNITS}::test_content[zstd many members-10000000]",
    ),
    Mend(
        "pack: the memory that an archive of zstd needs has a limit",
        ("archive",),
        _PACKING,
        "DecompressionParameter.window_log_max: WINDOW_LOG_MAX}",
        "DecompressionParameter.window_log_max: 30}",
        f"{_UNITS}::test_what_takes_more_than_is_there[window]",
    ),
    Mend(
        "pack: a header of gzip is read wherever a block ends",
        ("archive",),
        _MEMBER,
        "    return end if end <= len(header) else None\n",
        "    return end\n",
        f"{_UNITS}::test_headers_of_gzip[2-1]",
    ),
]
