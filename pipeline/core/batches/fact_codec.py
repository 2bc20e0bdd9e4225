"""The facts of a batch as the ledger writes and reads them."""

from dataclasses import asdict
from typing import Any

from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    NeverSent,
    NotTaken,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
)
from pipeline.core.plain import of_plain

#: Kind of fact -> its name in ledgers. A name never changes once any ledger may hold it; a class may be renamed.
_NAMES: dict[type[Fact], str] = {
    Begun: "Begun",
    Taken: "Taken",
    NotTaken: "NotTaken",
    InDoubt: "InDoubt",
    RefusedAs: "RefusedAs",
    SeenComplete: "SeenComplete",
    SeenStuck: "SeenStuck",
    GivenUp: "GivenUp",
    SplitUp: "SplitUp",
    RowRejected: "RowRejected",
    Failed: "Failed",
    NeverSent: "Dropped",
    Released: "Released",
}
_KINDS: dict[str, type[Any]] = {name: kind for kind, name in _NAMES.items()}


def fact_kind(fact: Fact) -> str:
    """The name of a fact's kind in ledgers."""
    return _NAMES[type(fact)]


def fact_detail(fact: Fact) -> dict[str, Any]:
    """The fields of a fact, as plain values."""
    return asdict(fact)


def make_fact(kind: str, detail: dict[str, Any]) -> Fact:
    """Rebuild a fact from its `fact_kind` and `fact_detail`. Raises `KeyError` for an unknown kind."""
    fact: Fact = of_plain(_KINDS[kind], detail)
    return fact
