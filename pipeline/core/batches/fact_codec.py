"""Facts of a batch as the ledger writes them down, and back."""

from dataclasses import asdict, fields
from typing import Any, get_args

from pipeline.core.batches.lifecycle import Fact

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Fact)}


def fact_kind(fact: Fact) -> str:
    """The name under which a fact is written down."""
    return type(fact).__name__


def fact_detail(fact: Fact) -> dict[str, Any]:
    """What a fact says, as plain values."""
    return asdict(fact)


def make_fact(kind: str, detail: dict[str, Any]) -> Fact:
    """A fact as it was written down; `KeyError` for a kind there never was."""
    made = _KINDS[kind]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in detail.items()}
    known = {field.name for field in fields(made)}
    fact: Fact = made(**{name: value for name, value in values.items() if name in known})
    return fact
