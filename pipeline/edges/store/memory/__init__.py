"""The memory on the disk: what was last sent of each id, over all jobs of a client code."""
