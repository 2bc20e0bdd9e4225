"""The peer of the benchmark shows a batch as complete when it says it does."""

import http.client
from urllib.parse import urlsplit

from tests.tools.bench.peer import IDLE_S, Batches, peer


def test_a_batch_is_complete_at_once() -> None:
    batches = Batches(unsettled=0, until_rows=1_000)
    assert batches.status(batches.accept(7)) == ("complete", 7)


def test_a_batch_is_incomplete_until_so_many_more_are_accepted() -> None:
    batches = Batches(unsettled=2, until_rows=1_000)
    first = batches.accept(10)
    second = batches.accept(10)
    assert batches.status(first) == ("incomplete", 10)
    batches.accept(10)
    assert batches.status(first) == ("complete", 10)
    assert batches.status(second) == ("incomplete", 10)


def test_all_are_complete_with_so_many_rows() -> None:
    batches = Batches(unsettled=2, until_rows=20)
    first = batches.accept(10)
    assert batches.status(first) == ("incomplete", 10)
    assert batches.status(batches.accept(10)) == ("complete", 10)
    assert batches.status(first) == ("complete", 10)


def test_all_are_complete_when_none_has_come_for_long() -> None:
    now = 0.0
    batches = Batches(unsettled=2, until_rows=1_000, monotonic=lambda: now)
    first = batches.accept(10)
    now = IDLE_S
    assert batches.status(first) == ("incomplete", 10)
    now = IDLE_S + 1
    assert batches.status(first) == ("complete", 10)


def test_it_counts_the_rows_of_a_body_without_its_header() -> None:
    with peer() as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        try:
            connection.request("POST", "/m2/demo/v2/profile/batchUpdate", b"batch=thirdPartyId,tier\na,b\nc,d\n")
            accepted = connection.getresponse().read().decode()
            assert "<success>true</success>" in accepted
            status_url = accepted.partition("<batchStatus>")[2].partition("</batchStatus>")[0]
            connection.request("GET", status_url.removeprefix(url) + "&showDetails=true")
            status = connection.getresponse().read().decode()
        finally:
            connection.close()
    assert "<status>complete</status><batchSize>2</batchSize><consumedCount>2</consumedCount>" in status
