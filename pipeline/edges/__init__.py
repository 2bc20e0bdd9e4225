"""The outside world, one thing in each module; imports nothing but the core."""
