"""What Target says is told in our words, and a secret is found in whatever it is written."""

import base64
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.messages import in_our_words, is_about_the_client, is_empty_batch, without


@pytest.mark.parametrize(
    ("message", "told", "said"),
    [
        ("Unexpected error", "Unexpected error", ""),
        (" unexpected\n  ERROR. ", "Unexpected error", ""),
        ("Batch is empty", "Batch is empty", ""),
        ("Forbidden!", "Forbidden", ""),
        ("", "no message", ""),
        (" \t", "no message", ""),
        ("Invalid client code u-17", "Invalid client code", "Invalid client code u-17"),
        ("Number of rows exceeds the limit of 771230", "Number of rows exceeds the limit", None),
        ("Illegal parameter name 'gold'", "Illegal parameter name", None),
    ],
)
def test_what_is_known(message: str, told: str, said: str | None) -> None:
    assert in_our_words(message) == (told, message if said is None else said)


@pytest.mark.parametrize(
    "message",
    [
        "u-17",
        "Unexpected error u-17",
        "u-17 Unexpected error",
        "Unexpected error: Batch is empty",
        "Batch\x1bis empty",
        "\u202eytpme si hctaB",
        "Batch i\u017f empty",
        "<b>Forbidden</b>",
        "12345",
    ],
)
def test_what_is_not_known_is_not_quoted(message: str) -> None:
    told, said = in_our_words(message)
    assert told == f"a message that is not known ({len(message)} characters; see answers.jsonl in the job's folder)"
    assert said == message


@given(st.text())
def test_nothing_but_our_words_is_told(message: str) -> None:
    told, _ = in_our_words(f"Q{message}Q")
    assert told.startswith("a message ")
    assert told.isascii() and told.isprintable()


@pytest.mark.parametrize("message", ["No such client u-17", "CLIENT unknown", "the client: u-17"])
def test_it_is_told_that_a_message_is_about_the_client(message: str) -> None:
    told, said = in_our_words(message)
    assert told.startswith("a message about the client that is not known (")
    assert said == message
    assert is_about_the_client(told) and is_about_the_client("Invalid client code")
    assert not is_about_the_client("a message that is not known") and not is_about_the_client("clients")


def test_an_empty_batch() -> None:
    assert is_empty_batch(in_our_words("BATCH is  empty.")[0])
    assert not is_empty_batch(in_our_words("Batch is empty of u-17")[0])


TOKEN = "s3cr3t/T0ken+of=eyJhbGciOi"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}\r\n",
        quote(TOKEN, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(TOKEN, safe="")),
        "".join(f"%{byte:02x}" for byte in TOKEN.encode()),
        *(base64.b64encode(f"{'x' * n}{TOKEN}{'y' * m}".encode()).decode() for n in range(4) for m in range(4)),
        *(base64.urlsafe_b64encode(f"{'x' * n}{TOKEN}".encode()).decode() for n in range(4)),
        TOKEN * 3,
    ],
)
def test_a_secret_is_left_out(text: str) -> None:
    told = without(TOKEN, f"before {text} behind")
    assert told.startswith("before ") and told.endswith(" behind")
    assert "***" in told
    for piece in (TOKEN[3:12], quote(TOKEN[:8], safe=""), base64.b64encode(TOKEN.encode()).decode()[4:-6]):
        assert piece not in told


def test_a_text_without_it_stays_as_it_is() -> None:
    assert without(TOKEN, "nothing of it") == "nothing of it"
    assert without("", "nothing of it") == "nothing of it"


def test_a_long_message_costs_what_its_length_tells() -> None:
    """One of two-letter words was once searched in a whole body, word by word."""
    message = "ab " * 20_000
    began = time.process_time()
    in_our_words(message)
    without(TOKEN, message)
    assert time.process_time() - began < 0.05
