"""All that touches the world, one thing in each module; imports nothing but the core."""
