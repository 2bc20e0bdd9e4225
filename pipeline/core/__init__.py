"""Decisions: pure functions and objects without I/O, clock, random numbers, async or logging."""
