"""Which job runs when, and one job on its way to Target; read `jobs/load.py` first."""
