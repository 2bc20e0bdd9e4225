"""Facts are written down under names that last, and read back as they were."""

import json
from dataclasses import asdict
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.fact_codec import fact_detail, fact_kind, make_fact
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

#: As they stand in ledgers: neither a kind nor a name in it may change without a new schema version.
WRITTEN: list[tuple[Fact, str, dict[str, Any]]] = [
    (Begun(7), "Begun", {"post_number": 7}),
    (Taken("https://host/p?a=1&b=é"), "Taken", {"status_url": "https://host/p?a=1&b=é"}),
    (NotTaken("HTTP 503"), "NotTaken", {"why": "HTTP 503"}),
    (InDoubt(""), "InDoubt", {"why": ""}),
    (RefusedAs('a "message"\n'), "RefusedAs", {"message": 'a "message"\n'}),
    (
        SeenComplete(2, 3, ("u1", "é, 2"), ("u3",), 12),
        "SeenComplete",
        {"failed": 2, "unconfirmed": 3, "failed_ids": ["u1", "é, 2"], "unconfirmed_ids": ["u3"], "batch_size": 12},
    ),
    (
        SeenComplete(0, 0),
        "SeenComplete",
        {"failed": 0, "unconfirmed": 0, "failed_ids": [], "unconfirmed_ids": [], "batch_size": None},
    ),
    (SeenStuck(), "SeenStuck", {}),
    (GivenUp("lost"), "GivenUp", {"why": "lost"}),
    (SplitUp((8, 9)), "SplitUp", {"children": [8, 9]}),
    (RowRejected("bad", 3, "u1,%2C"), "RowRejected", {"message": "bad", "line": 3, "row": "u1,%2C"}),
    (Failed("budget"), "Failed", {"why": "budget"}),
    (NeverSent(), "Dropped", {}),
    (Released(), "Released", {}),
]


@pytest.mark.parametrize(("fact", "kind", "detail"), WRITTEN)
def test_facts_are_written_and_read_back(fact: Fact, kind: str, detail: dict[str, Any]) -> None:
    assert fact_kind(fact) == kind
    assert json.loads(json.dumps(fact_detail(fact))) == detail
    found = make_fact(kind, detail)
    assert found == fact
    assert type(found) is type(fact)
    assert hash(found) == hash(fact)


def test_every_fact_is_in_the_table() -> None:
    assert {type(fact) for fact, _, _ in WRITTEN} == set(get_args(Fact))


@given(st.one_of(*(st.from_type(kind) for kind in get_args(Fact))))
def test_any_fact_comes_back(fact: Fact) -> None:
    assert make_fact(fact_kind(fact), json.loads(json.dumps(fact_detail(fact)))) == fact


def test_a_kind_there_never_was() -> None:
    for kind in ("Guessed", "", "begun", "Fact"):
        with pytest.raises(KeyError):
            make_fact(kind, {})


def test_what_an_older_program_does_not_know_is_passed_over() -> None:
    assert make_fact("Begun", {"post_number": 7, "since": "then"}) == Begun(7)
    assert make_fact("SeenComplete", {"failed": 1, "unconfirmed": 0}) == SeenComplete(1, 0)


def test_the_detail_is_a_copy() -> None:
    fact = SeenComplete(1, 0, ("u1",))
    fact_detail(fact)["failed"] = 9
    assert asdict(fact)["failed"] == 1
