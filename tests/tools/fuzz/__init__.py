"""Fuzzing: bytes of all kinds into whatever reads bytes of others, until something breaks.

    python -m tests.tools.fuzz --seconds 60       all targets, as `make fuzz` does
    python -m tests.tools.fuzz NAME...            those targets
    python -m tests.tools.fuzz NAME --input FILE  one input again

A target takes bytes, and raises only where there is a bug. With atheris (`pip install -r requirements-fuzz.lock`; its
wheels are for Linux on x86_64) the search is led by what of `pipeline.core` an input reaches; else hypothesis makes
inputs from the same seeds. A run of more than a second of processor time is a finding too: no input has more than
64 KB.
"""
