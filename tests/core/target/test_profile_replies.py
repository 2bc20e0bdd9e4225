"""The profile in an answer of Target, and how it is compared with what was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.profile_replies import NoProfile, Profile, compared, parse_profile


def answer(**attributes: Any) -> bytes:
    return json.dumps({"profileAttributes": attributes}).encode()


def test_values_by_the_names_under_which_they_are_sent() -> None:
    read = parse_profile(answer(tier={"value": "gold", "modifiedAt": "x"}, **{"profile.ltv": {"value": 5}}))
    assert read == Profile({"tier": "gold", "ltv": "5"})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b'{"profileAttributes": []}', answer(a=1), answer(a={}), answer(a={"value": []})],
)
def test_what_is_no_profile(body: bytes) -> None:
    assert parse_profile(body) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_are_none(body: bytes) -> None:
    assert parse_profile(body) is None or isinstance(parse_profile(body), Profile)


def test_each_value_that_was_sent_is_compared_and_no_other() -> None:
    sent = {"tier": "gold", "ltv": "5", "city": "Bonn", "left": ""}
    has = Profile({"tier": "gold", "ltv": "6", "more": "x", "left": "y"})
    assert compared(sent, has) == {"tier": "equal", "ltv": "different", "city": "missing"}
    assert compared(sent, NoProfile()) == {"tier": "missing", "ltv": "missing", "city": "missing"}
