"""Exports as they lie on a disk: read in blocks, part by part, with their digest; and what tells them apart."""

from pipeline.edges.exports.faults import changed
from pipeline.edges.exports.identity import Identity, PartFile, identity_of
from pipeline.edges.exports.opened import Export, ExportFile, digest, open_export
from pipeline.edges.exports.part_files import Parts, find_parts, identify, left_out_of, path_of
from pipeline.edges.exports.part_lists import Listed
from pipeline.edges.exports.reader import BLOCK_BYTES, PIECE_BYTES

__all__ = [
    "BLOCK_BYTES",
    "PIECE_BYTES",
    "Export",
    "ExportFile",
    "Identity",
    "Listed",
    "PartFile",
    "Parts",
    "changed",
    "digest",
    "find_parts",
    "identify",
    "identity_of",
    "left_out_of",
    "open_export",
    "path_of",
]
