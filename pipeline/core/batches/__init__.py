"""From rows to batches: ids in flight, held rows, and the life of a batch."""
