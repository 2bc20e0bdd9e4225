"""From rows to batches: what is in flight, what is held, and the life of a batch."""
