"""The process itself: its memory, the signals before anybody listens, and what the machine refuses it."""
