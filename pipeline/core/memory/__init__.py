"""The memory of each id: entries, digests of rows, and what a row says that is new."""
