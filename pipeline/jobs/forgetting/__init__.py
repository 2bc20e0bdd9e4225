"""Erases ids from all that the program keeps, with a receipt."""

from pipeline.jobs.forgetting.forget import forget
from pipeline.jobs.forgetting.receipt import RECEIPTS, Receipt

__all__ = ["RECEIPTS", "Receipt", "forget"]
