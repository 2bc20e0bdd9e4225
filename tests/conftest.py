"""What holds for all tests."""

import gc


def pytest_collection_finish() -> None:
    """Never look for garbage in what was imported: each job does at its end, and it is much here."""
    gc.collect()
    gc.freeze()
