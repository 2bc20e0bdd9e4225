"""Containers: files that hold several parts of an export, or parts that are no text until they are unpacked."""

from pipeline.edges.containers.member import Member
from pipeline.edges.containers.members import members_of

__all__ = ["Member", "members_of"]
