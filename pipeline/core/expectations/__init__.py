"""The exports that are expected: when each has to be done, which day a job counts for, and what is overdue."""
