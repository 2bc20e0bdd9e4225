"""What Target's answers mean, in every shape they come in, and none of them believed too much."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.replies import (
    MAX_REPLY_BYTES,
    Accepted,
    Complete,
    Incomplete,
    Refused,
    RowOutcomes,
    StatusLost,
    Stuck,
    Uncounted,
    count_rows,
    is_page,
    parse_status,
    parse_submitted,
)

URL = "http://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?batchId=demo-1701473848678-13029383"


def response(*elements: str) -> bytes:
    return f"<response>{''.join(elements)}</response>".encode()


def submitted(url: str, success: str = "true") -> bytes:
    message = "<message>Batch submitted for processing</message>"
    return response(f"<success>{success}</success>", f"<batchStatus>{url}</batchStatus>", message)


def status(*elements: str) -> bytes:
    return response("<batchId>demo-1</batchId>", *elements)


# Answers to a POST.


@pytest.mark.parametrize(
    "body",
    [
        submitted(URL),
        submitted(f"\n  {URL}\n"),
        submitted(URL, "TRUE"),
        submitted(URL, " true "),
        b"\xef\xbb\xbf" + submitted(URL),
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + submitted(URL) + b"\n",
        b'<?xml version="1.0" encoding="UTF-16"?>' + submitted(URL),
        b"<!-- a comment -->" + submitted(URL),
        b'\n<?xml version="1.0" encoding="UTF-8"?>' + submitted(URL),
        b'\xef\xbb\xbf \r\n<?xml version="1.0"?>' + submitted(URL),
        submitted(URL).replace(b"<response>", b'<response xmlns="http://example.com/target">'),
        submitted(URL).replace(b"response>", b"t:response>").replace(b"<t:response>", b'<t:response xmlns:t="urn:x">'),
        submitted(URL).replace(b"<success>", b'<success type="boolean">'),
        submitted(URL).replace(b"response>", b"result>"),
    ],
)
def test_accepted(body: bytes) -> None:
    assert parse_submitted(body) == Accepted(URL)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        (f"{URL}&mboxPC=1&m2Node=2", f"{URL}&mboxPC=1&m2Node=2"),
        (f"{URL}&amp;mboxPC=1", f"{URL}&mboxPC=1"),
        (f"{URL}&amp;a=1&b=2&", f"{URL}&a=1&b=2&"),
        (f"{URL}&ampere=1", f"{URL}&ampere=1"),
        (f"{URL}&copy;=1", f"{URL}&copy;=1"),
        (f"{URL}&#38;a=1&#x26;b=2", f"{URL}&a=1&b=2"),
        (f"{URL}&#a=1", f"{URL}&#a=1"),
        (f"{URL}&&a", f"{URL}&&a"),
    ],
)
def test_status_url_with_a_raw_ampersand(written: str, url: str) -> None:
    assert parse_submitted(submitted(written)) == Accepted(url)


def test_status_url_in_a_cdata_section() -> None:
    assert parse_submitted(submitted(f"<![CDATA[{URL}&a=1]]>")) == Accepted(f"{URL}&a=1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (response("<success>false</success>", "<message>Unexpected error</message>"), "Unexpected error"),
        (response("<success>False</success>", "<message> unexpected\n ERROR. </message>"), "Unexpected error"),
        (response("<success>false</success>"), "refused without a message"),
        (response("<success>false</success>", "<message/>"), "refused without a message"),
        (submitted(URL, "false"), "Batch submitted for processing"),
    ],
)
def test_refused(body: bytes, message: str) -> None:
    assert parse_submitted(body) == Refused(message)


def test_a_message_that_is_not_known_is_not_quoted() -> None:
    said = "row u-17 & gold is bad"
    answer = response("<success>false</success>", f"<message> {said} </message>")
    told = "a message that is not known (22 characters; see answers.jsonl in the job's folder)"
    assert parse_submitted(answer) == Refused(told, said)
    lost = parse_status(answer)
    assert lost == StatusLost(f"Target does not know the batch: {told}", is_unknown=True, said=said)


#: Answers that are made to take long to read: of as many bytes as are read of one.
COSTLY = {
    "openers of CDATA sections": "<![CDATA[",
    "openers of CDATA sections and ampersands": "&<![CDATA[",
    "CDATA sections": "<r>|<![CDATA[a&b]]>",
    "ends of CDATA sections": "<r>|]]>",
    "elements in one another": "<a>",
    "elements in one another, closed": "<a>" * 9_000 + "</a>" * 9_000 + "|",
    "elements beside one another": "<r>|<a/>",
    "profiles in one another": "<r><status>complete</status>|<profile>",
    "profiles": "<r><status>complete</status>|<profile><id>a</id><status>failed</status></profile>",
    "profiles without anything": "<r><status>complete</status>|<profile/>",
    "many of one name": "<r>|<success>false</success>",
    "attributes": "<r " + " ".join(f"a{n}=''" for n in range(5_000)) + "/>|",
    "attributes of one name": "<r| a=''",
    "a long namespace": f"<r xmlns='{'u' * 32_000}'>|<b/>",
    "a long namespace with a prefix": f"<r xmlns:a='{'u' * 32_000}'>|<a:b/>",
    "many namespaces": "<r>|<a xmlns:n='u' xmlns='v'>",
    "a name that is long": "<|a",
    "a name of colons": "<r>|<a:a:a:a/>",
    "comments": "<r>|<!---->",
    "openers of comments": "<r>|<!--",
    "hyphens": "<r><!--|-",
    "processing instructions": "<r>|<?a?>",
    "ampersands": "<r>|&",
    "references": "<r>|&amp;",
    "references by number": "<r>|&#65;",
    "half references": "<r>|&#1",
    "a reference of many digits": "<r>&#|1",
    "entities": '<!DOCTYPE r [<!ENTITY a "aaaaaaaa">|<!ENTITY b "&a;&a;&a;">',
    "a long message": "<r><success>false</success><message>|client ",
    "a message of blanks": "<r><success>false</success><message>| ",
    "a page": "<html>| ",
    "a declaration": "<?xml| a",
    "white space": "| ",
}


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY)
def test_reading_an_answer_takes_no_longer_than_its_length_tells(text: str) -> None:
    """Processor time, so that others on the machine do not count; the least of three, for the same reason."""
    first, _, again = text.rpartition("|")
    whole = (first + again * MAX_REPLY_BYTES)[:MAX_REPLY_BYTES]
    bodies = [whole.encode(), whole[:-1].encode()]
    for ending in ("</message></r>", "</r>"):
        bodies.append((whole[: -len(ending) - 1] + ending).encode())
    for body in bodies:
        for read in (parse_submitted, parse_status, is_page):
            took = []
            for _ in range(3):
                began = time.process_time()
                read(body)
                took.append(time.process_time() - began)
            assert min(took) < 0.05


UNREADABLE = [
    b"",
    b" ",
    b"OK",
    b"{}",
    b"\0",
    b"\xff\xfe<\0r\0",
    b"<",
    b"<response>",
    b"<response",
    b"</response>",
    b"<response></respons>",  # codespell:ignore
    b"<html><head><title>502 Bad Gateway</title></head><body></body></html>",
    b"<html><br></html>",
    response(),
    response("\x01"),
    response("&#0;"),
    b"<a>" * 20_000,
    b"x" * MAX_REPLY_BYTES,
    b"<a>" * MAX_REPLY_BYTES,
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_garbage_says_nothing(body: bytes) -> None:
    assert parse_submitted(body) is None
    assert parse_status(body) is None


@pytest.mark.parametrize(
    "body",
    [
        submitted(URL)[:-1],
        submitted(URL)[:60],
        submitted(URL) + b"<more/>",
        submitted(URL) + submitted(URL),
        submitted(""),
        submitted(URL, "yes"),
        submitted(URL, ""),
        response("<success>true</success>"),
        response(f"<batchStatus>{URL}</batchStatus>"),
        response(f"<deeper><success>true</success><batchStatus>{URL}</batchStatus></deeper>"),
    ],
)
def test_an_answer_that_is_not_whole_or_not_clear_says_nothing(body: bytes) -> None:
    assert parse_submitted(body) is None


DOCTYPES = [
    "<!DOCTYPE response>",
    "<!doctype html>",
    '<!DOCTYPE r [<!ENTITY e "true">]>',
    '<!DOCTYPE r SYSTEM "file:///">',
]


@pytest.mark.parametrize("doctype", DOCTYPES)
def test_a_document_type_is_not_believed(doctype: str) -> None:
    assert parse_submitted(doctype.encode() + submitted(URL)) is None
    assert parse_submitted(b"<?xml version='1.0'?>" + doctype.encode() + response("<success>false</success>")) is None
    assert parse_status(doctype.encode() + status("<status>complete</status>")) is None
    padded = doctype + " " * 100 + status("<status>stuck</status>").decode() + "<profile></profile>" * 4_000
    assert parse_status(padded.encode()) is None


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from(["<a>", "</a>", "<", "&", "<!", "x", "]]>", "<?"])).map("".join).map(str.encode)
)
def test_no_bytes_make_it_fail(body: bytes) -> None:
    for whole in (body, b"<response>" + body + b"</response>", submitted(URL)[:-20] + body):
        assert isinstance(parse_submitted(whole), Accepted | Refused | None)
        parse_status(whole)


# Answers to a status GET.


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (status("<status>incomplete</status>"), Incomplete()),
        (status("<status>queued</status>"), Incomplete()),
        (status("<status>stuck</status>"), Stuck()),
        (status("<status> STUCK </status>"), Stuck()),
        (status("<status>complete</status>"), Complete()),
        (status("<status>Complete</status>"), Complete()),
        (response("<success>false</success>", "<message>batch  not found.</message>"), "Batch not found"),
        (response("<success>false</success>"), "no message"),
        (response("<success>true</success>"), None),
        (status("<status></status>"), None),
        (status(), None),
        (status("<status>complete</status>")[:-3], None),
        (status("<profile><status>success</status></profile>"), None),
    ],
)
def test_status(body: bytes, outcome: Incomplete | Stuck | Complete | str | None) -> None:
    if isinstance(outcome, str):
        assert parse_status(body) == StatusLost(f"Target does not know the batch: {outcome}", is_unknown=True)
    else:
        assert parse_status(body) == outcome


COUNTS = "".join(
    [
        "<batchSize>164</batchSize><consumedCount>163</consumedCount><successfulUpdates>160</successfulUpdates>",
        "<profilesNotFound>1</profilesNotFound><failedUpdates>2</failedUpdates>",
    ]
)
FAILED = "<profile><id>{}</id><status>failed</status></profile>"


def test_complete_with_counts_and_failed_ids() -> None:
    body = status("<status>complete</status>", COUNTS, FAILED.format("some id"), FAILED.format("a & b&amp;é"))
    assert parse_status(body) == Complete(164, 163, 1, 2, ("some id", "a & b&é"), 160)


def test_profiles_that_succeeded_are_not_failed() -> None:
    profiles = "<profiles><profile><id>u1</id><status>success</status></profile>" + FAILED.format("u2") + "</profiles>"
    assert parse_status(status("<status>complete</status>", profiles)) == Complete(failed_ids=("u2",))


@pytest.mark.parametrize("count", ["-1", "1.0", "x", "1 2", "1" * 13])
@pytest.mark.parametrize(
    "name", ["batchSize", "consumedCount", "successfulUpdates", "profilesNotFound", "failedUpdates"]
)
def test_counts_that_are_none_make_the_answer_uncounted(name: str, count: str) -> None:
    found = parse_status(status("<status>complete</status>", f"<{name}>{count}</{name}>"))
    assert found == Uncounted(f"complete, but {name} is no count")
    assert parse_status(status("<status>incomplete</status>", f"<{name}>{count}</{name}>")) == Incomplete()


@pytest.mark.parametrize("count", ["0", "7", " 7\n", "007", "9" * 12, ""])
def test_counts_are_read(count: str) -> None:
    expected = int(count) if count else None
    found = parse_status(status("<status>complete</status>", f"<batchSize>{count}</batchSize>"))
    assert found == Complete(batch_size=expected)


def row(profile_id: str, word: str) -> str:
    return f"<profile><id>{profile_id}</id><status>{word}</status></profile>"


NAMELESS = "<profile><status>{}</status></profile>"
#: Answers as pages of Adobe's and people in the field show them, to a batch of 10 rows, and what they come to.
SHAPES: dict[str, tuple[str, RowOutcomes | str]] = {
    "2024, all applied": (
        "<batchSize>10</batchSize><consumedCount>10</consumedCount><successfulUpdates>10</successfulUpdates>"
        "<profilesNotFound>0</profilesNotFound><failedUpdates>0</failedUpdates>",
        RowOutcomes(10, 0, 0),
    ),
    "2024, one failed": (
        "<batchSize>10</batchSize><consumedCount>10</consumedCount><successfulUpdates>9</successfulUpdates>"
        f"<profilesNotFound>0</profilesNotFound><failedUpdates>1</failedUpdates>{row('u1', 'failed')}",
        RowOutcomes(9, 1, 0),
    ),
    "one that no count names": (
        "<batchSize>10</batchSize><consumedCount>10</consumedCount><successfulUpdates>8</successfulUpdates>"
        "<profilesNotFound>0</profilesNotFound><failedUpdates>1</failedUpdates>",
        RowOutcomes(8, 1, 1),
    ),
    "2022, without consumedCount": (
        "<batchSize>10</batchSize><successfulUpdates>7</successfulUpdates><profilesNotFound>1</profilesNotFound>"
        "<failedUpdates>1</failedUpdates>",
        RowOutcomes(7, 2, 1),
    ),
    "nothing but those applied": ("<successfulUpdates>3</successfulUpdates>", RowOutcomes(3, 0, 7)),
    "all counts 0": (
        "<batchSize>10</batchSize><consumedCount>10</consumedCount><successfulUpdates>0</successfulUpdates>"
        "<profilesNotFound>0</profilesNotFound><failedUpdates>0</failedUpdates>",
        RowOutcomes(0, 0, 10),
    ),
    "no counts, without showDetails": ("", RowOutcomes(10, 0, 0)),
    "no count of those applied": (
        "<consumedCount>9</consumedCount><failedUpdates>2</failedUpdates>",
        RowOutcomes(7, 2, 1),
    ),
    "a row that is pending": (f"<successfulUpdates>9</successfulUpdates>{row('u1', 'pending')}", RowOutcomes(9, 0, 1)),
    "pending and counted all the same": (
        f"<successfulUpdates>10</successfulUpdates>{row('u1', 'pending')}",
        RowOutcomes(9, 0, 1),
    ),
    "a row in another word": (row("u1", "queued"), RowOutcomes(9, 0, 1)),
    "a row without a word": (row("u1", ""), RowOutcomes(9, 0, 1)),
    "failed, error, success": (row("u1", "failed") + row("u2", "Error") + row("u3", "SUCCESS"), RowOutcomes(8, 2, 0)),
    "named twice": (row("u1", "failed") * 2, RowOutcomes(9, 1, 0)),
    "more applied than sent": (
        "<batchSize>12</batchSize><successfulUpdates>12</successfulUpdates>",
        RowOutcomes(10, 0, 0),
    ),
    "more applied and failed than sent": (
        "<successfulUpdates>9</successfulUpdates><failedUpdates>3</failedUpdates>",
        RowOutcomes(7, 3, 0),
    ),
    "fewer read than applied": (
        "<batchSize>4</batchSize><successfulUpdates>10</successfulUpdates>",
        RowOutcomes(4, 0, 6),
    ),
    "fewer consumed than applied": (
        "<consumedCount>4</consumedCount><successfulUpdates>10</successfulUpdates>",
        RowOutcomes(4, 0, 6),
    ),
    "many applied": (f"<successfulUpdates>{10**11}</successfulUpdates>", RowOutcomes(10, 0, 0)),
    "a negative count": ("<successfulUpdates>-1</successfulUpdates>", "uncounted"),
    "a count beyond all": (f"<successfulUpdates>{10**12}</successfulUpdates>", "uncounted"),
    "failed, without an id": (NAMELESS.format("failed"), RowOutcomes(9, 1, 0)),
    "two failed, one without an id": (NAMELESS.format("error") + row("u1", "failed"), RowOutcomes(8, 2, 0)),
    "failed without ids, and counted": (
        "<successfulUpdates>8</successfulUpdates><failedUpdates>2</failedUpdates>" + NAMELESS.format("failed") * 2,
        RowOutcomes(8, 2, 0),
    ),
    "pending, without an id": (NAMELESS.format("pending"), RowOutcomes(9, 0, 1)),
    "an empty id": (row(" ", "failed"), RowOutcomes(9, 1, 0)),
}


@pytest.mark.parametrize(("answer", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_shapes_of_complete(answer: str, expected: RowOutcomes | str) -> None:
    found = parse_status(status("<status>complete</status>", answer))
    assert isinstance(found, Uncounted if expected == "uncounted" else Complete)
    assert not isinstance(found, Complete) or count_rows(10, found) == expected


#: Answers that name every row of a batch of 3 and have no status of the batch.
ROWS_ONLY = {
    "all applied": (["success"] * 3, RowOutcomes(3, 0, 0)),
    "some failed": (["success", "failed", "error"], RowOutcomes(1, 2, 0)),
    "one not named": (["success", "success"], RowOutcomes(2, 0, 1)),
    "one pending": (["success", "pending", "failed"], Incomplete()),
    "all pending": (["pending"] * 3, Incomplete()),
    "another word": (["success", "success", "later"], Incomplete()),
    "more than were sent": (["success"] * 4, RowOutcomes(3, 0, 0)),
    "one not named, and the first failed": (["failed", "success"], RowOutcomes(1, 1, 1)),
}


@pytest.mark.parametrize(("words", "expected"), ROWS_ONLY.values(), ids=ROWS_ONLY.keys())
def test_rows_only(words: list[str], expected: RowOutcomes | Incomplete) -> None:
    found = parse_status(status(*(row(f"u{n}", word) for n, word in enumerate(words))))
    assert found == expected if isinstance(expected, Incomplete) else isinstance(found, Complete)
    assert not isinstance(found, Complete) or count_rows(3, found) == expected


#: What an answer says of one id more than once, and what the row of that id is; two more rows succeed.
TWICE = {
    "failed twice": (["failed", "failed"], RowOutcomes(2, 1, 0)),
    "failed in other words": (["failed", "error", "FAILED"], RowOutcomes(2, 1, 0)),
    "success and failed": (["success", "failed"], RowOutcomes(2, 1, 0)),
    "failed and success": (["failed", "success"], RowOutcomes(2, 1, 0)),
    "success twice": (["success", "success"], RowOutcomes(3, 0, 0)),
    "failed and pending": (["failed", "pending"], RowOutcomes(2, 1, 0)),
    "success and pending": (["success", "pending"], RowOutcomes(2, 0, 1)),
    "pending twice": (["pending", "pending"], RowOutcomes(2, 0, 1)),
}


@pytest.mark.parametrize(("words", "expected"), TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("counts", ["", "<successfulUpdates>3</successfulUpdates>"])
def test_an_id_counts_once_as_the_worst_that_is_said_of_it(
    words: list[str], expected: RowOutcomes, counts: str
) -> None:
    others = [row("u1", "success"), row("u2", "success")]
    named = [row(f" u0{' ' * n}\n", word) for n, word in enumerate(words)]
    found = parse_status(status("<status>complete</status>", counts, *named, *others))
    assert isinstance(found, Complete)
    assert count_rows(3, found) == expected
    rows_only = parse_status(status(*named, *others))
    if not expected.unconfirmed and "pending" not in words:
        assert isinstance(rows_only, Complete)
        assert count_rows(3, rows_only) == expected
        assert count_rows(4, rows_only) == RowOutcomes(expected.confirmed, expected.failed, 1)


@pytest.mark.parametrize(("word", "expected"), [("failed", RowOutcomes(2, 1, 0)), ("pending", Incomplete())])
def test_rows_only_of_which_one_has_no_id(word: str, expected: RowOutcomes | Incomplete) -> None:
    found = parse_status(status(row("u1", "success"), row("u2", "success"), NAMELESS.format(word)))
    assert (count_rows(3, found) if isinstance(found, Complete) else found) == expected


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        (b"<!DOCTYPE html><html><body>log in</body></html>", True),
        (b"\n<HTML><head></head></HTML>\n", True),
        (b"<html><body>half", False),
        (submitted(URL), False),
        (b"", False),
        (b"{}", False),
    ],
)
def test_web_pages(body: bytes, is_one: bool) -> None:
    assert is_page(body) is is_one


def test_rows_only_cut_off_says_nothing() -> None:
    """A row that is pending may stand in the part that is missing."""
    body = status(*(row(f"u{n}", "success") for n in range(5_000)))
    assert parse_status(body[:MAX_REPLY_BYTES]) is None


def long_status(profiles: int, *, id_text: str = "customer {}") -> tuple[bytes, list[str]]:
    """A status with many failed ids, and those ids."""
    ids = [id_text.format(number) for number in range(profiles)]
    body = status("<status>complete</status>", COUNTS, *map(FAILED.format, ids))
    return body, ids


@pytest.mark.parametrize("cut_off", range(60))
def test_an_answer_cut_off_names_the_ids_that_are_whole(cut_off: int) -> None:
    """The cut falls on every place in a profile; half an id is never named."""
    body, ids = long_status(2_000)
    assert len(body) > MAX_REPLY_BYTES
    padded = body.replace(b"<batchId>", b" " * cut_off + b"<batchId>")[:MAX_REPLY_BYTES]
    found = parse_status(padded)
    assert isinstance(found, Complete)
    whole = padded.count(b"</profile>")
    assert found == Complete(164, 163, 1, 2, tuple(ids[:whole]), 160)
    assert 1_000 < whole < 2_000


def test_a_cut_in_the_middle_of_a_character() -> None:
    body, ids = long_status(2_000, id_text="😀" * 5 + "{}")
    for end in range(MAX_REPLY_BYTES, MAX_REPLY_BYTES + 5):
        found = parse_status(body[:end])
        assert isinstance(found, Complete)
        assert list(found.failed_ids) == ids[: len(found.failed_ids)]
        assert len(found.failed_ids) == body[:end].count(b"</profile>")


def test_an_answer_as_long_as_what_is_read_may_be_whole() -> None:
    body, ids = long_status(900)
    padded = body.replace(b"<batchId>", b" " * (MAX_REPLY_BYTES - len(body)) + b"<batchId>")
    assert len(padded) == MAX_REPLY_BYTES
    assert parse_status(padded) == Complete(164, 163, 1, 2, tuple(ids), 160)


def test_a_cut_answer_that_is_no_xml_says_nothing() -> None:
    body, _ = long_status(2_000)
    assert parse_status(body.replace(b"<batchId>", b"<batchId><")[:MAX_REPLY_BYTES]) is None
    assert parse_submitted(body[:MAX_REPLY_BYTES]) is None


def test_an_answer_not_cut_off_must_be_whole() -> None:
    body, _ = long_status(100)
    assert parse_status(body[:-20]) is None


# What became of the rows.


@pytest.mark.parametrize(
    ("complete", "outcomes"),
    [
        (Complete(), RowOutcomes(10, 0, 0)),
        (Complete(batch_size=10, consumed=10), RowOutcomes(10, 0, 0)),
        (Complete(consumed=8), RowOutcomes(8, 0, 2)),
        (Complete(consumed=0), RowOutcomes(0, 0, 10)),
        (Complete(consumed=10, failed=3), RowOutcomes(7, 3, 0)),
        (Complete(consumed=10, failed=2, not_found=1), RowOutcomes(7, 3, 0)),
        (Complete(consumed=9, failed=3), RowOutcomes(6, 3, 1)),
        (Complete(consumed=5, failed=8), RowOutcomes(0, 8, 2)),
        (Complete(consumed=10**12, failed=0), RowOutcomes(10, 0, 0)),
        (Complete(consumed=10, failed=11), RowOutcomes(0, 10, 0)),
        (Complete(consumed=0, failed=10**12, not_found=10**12), RowOutcomes(0, 10, 0)),
        (Complete(failed=10), RowOutcomes(0, 10, 0)),
    ],
)
def test_count_rows(complete: Complete, outcomes: RowOutcomes) -> None:
    assert count_rows(10, complete) == outcomes


def test_rows_that_target_never_saw_are_not_confirmed() -> None:
    assert count_rows(10, Complete(batch_size=4)) == RowOutcomes(4, 0, 6)
    assert count_rows(10, Complete(batch_size=4, consumed=10)) == RowOutcomes(4, 0, 6)
    assert count_rows(10, Complete(batch_size=10, consumed=4)) == RowOutcomes(4, 0, 6)


def test_rows_named_as_failed_are_not_confirmed() -> None:
    assert count_rows(10, Complete(failed_ids=("u1", "u2"))) == RowOutcomes(8, 2, 0)
    assert count_rows(10, Complete(failed=1, failed_ids=("u1", "u2"))) == RowOutcomes(8, 2, 0)
    assert count_rows(10, Complete(failed=3, failed_ids=("u1", "u2"))) == RowOutcomes(7, 3, 0)


NUMBERS = st.integers(0, 30)
FAILED_IDS = st.lists(st.sampled_from(["u1", "u2", "u3"]), max_size=12).map(tuple)


@given(
    NUMBERS,
    st.builds(
        Complete,
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        NUMBERS,
        NUMBERS,
        FAILED_IDS,
        st.none() | NUMBERS,
        FAILED_IDS,
    ),
)
def test_whatever_target_counts_every_row_is_in_one_class(rows: int, complete: Complete) -> None:
    outcomes = count_rows(rows, complete)
    assert outcomes.confirmed + outcomes.failed + outcomes.unconfirmed == rows
    assert min(outcomes.confirmed, outcomes.failed, outcomes.unconfirmed) >= 0
    assert outcomes.failed == min(rows, max(complete.failed + complete.not_found, len(complete.failed_ids)))
    if complete.updated is not None:
        named = complete.updated + outcomes.failed
        assert outcomes.unconfirmed >= rows - named
    for seen in (complete.batch_size, complete.consumed, complete.updated):
        if seen is not None:
            assert outcomes.confirmed <= seen
