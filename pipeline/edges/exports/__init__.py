"""Exports as they lie on a disk: read in blocks, part by part, with their digest; and what tells them apart."""

from pipeline.edges.exports.faults import changed
from pipeline.edges.exports.identity import Identity, PartFile, identity_of
from pipeline.edges.exports.opened import Export, ExportFile, digest, open_export
from pipeline.edges.exports.part_files import FoundParts, Parts, find_parts, identify, is_directory, path_of
from pipeline.edges.exports.reader import BLOCK_BYTES, PIECE_BYTES

__all__ = [
    "BLOCK_BYTES",
    "PIECE_BYTES",
    "Export",
    "ExportFile",
    "FoundParts",
    "Identity",
    "PartFile",
    "Parts",
    "changed",
    "digest",
    "find_parts",
    "identify",
    "identity_of",
    "is_directory",
    "open_export",
    "path_of",
]
