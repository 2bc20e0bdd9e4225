"""The survey of an export: its columns, its ids, its batches, and how long Target takes for them."""
