"""What Target's answers mean, and how fast it may be asked."""
