"""The rows of a job by the hashes of their ids: those of its batches, all others, and a sample to be read back."""
