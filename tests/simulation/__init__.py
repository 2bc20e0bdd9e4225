"""The real coroutines on a virtual loop, where a test decides on time, Target's answers, crashes and failures."""
