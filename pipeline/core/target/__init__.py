"""Target's answers: their meaning, and how often Target may be called."""
