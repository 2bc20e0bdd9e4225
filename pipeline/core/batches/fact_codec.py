"""The facts of a batch as the ledger writes and reads them."""

from dataclasses import asdict
from typing import Any, get_args

from pipeline.core.batches.lifecycle import Fact, NeverSent
from pipeline.core.plain import of_plain

#: Kind of fact -> its name in ledgers, where that is not the name of the class. A name never changes once any ledger
#: may hold it: a class that is renamed comes here.
_OTHER_NAMES: dict[type[Fact], str] = {NeverSent: "Dropped"}
_KINDS: dict[str, type[Any]] = {_OTHER_NAMES.get(kind, kind.__name__): kind for kind in get_args(Fact)}


def fact_kind(fact: Fact) -> str:
    """The name of a fact's kind in ledgers."""
    return _OTHER_NAMES.get(type(fact), type(fact).__name__)


def fact_detail(fact: Fact) -> dict[str, Any]:
    """The fields of a fact, as plain values."""
    return asdict(fact)


def make_fact(kind: str, detail: dict[str, Any]) -> Fact:
    """Rebuild a fact from its `fact_kind` and `fact_detail`. Raises `KeyError` for an unknown kind."""
    fact: Fact = of_plain(_KINDS[kind], detail)
    return fact
