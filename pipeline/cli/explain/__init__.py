"""The command `explain`: what became of one id."""
