"""Figures of a running load for people: a moment of it, and the marks of its batches."""
