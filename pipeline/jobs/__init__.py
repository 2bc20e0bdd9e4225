"""The jobs: which of them runs when, and each on its way to Target; read `jobs/load.py` first."""
