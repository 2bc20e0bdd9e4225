"""The wire contract, statement by statement: what a body means and what is answered."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.batch import Batch, Refusal, read_body, updates
from tests.contract.talk import V1, V2, WALL_S, counts, rows, talking

# --- the answer -------------------------------------------------------------------------------------


async def test_an_accepted_batch_is_answered_in_the_documented_form() -> None:
    async with talking() as talk:
        answer = await talk.post(rows("u1,gold,5"))
        batch_id = f"demo-{round(WALL_S * 1000)}-10000001"
        assert answer.status == 200
        assert answer.text == (
            f"<response><success>true</success><batchStatus>{talk.base_url}/m2/demo/profile/batchStatus"
            f"?batchId={batch_id}&m2Node=mboxedge11</batchStatus>"
            "<message>Batch submitted for processing</message></response>"
        )


async def test_a_raw_ampersand_makes_the_answer_no_xml_and_can_be_turned_off() -> None:
    async with talking() as talk:
        with pytest.raises(ElementTree.ParseError):
            ElementTree.fromstring((await talk.post(rows("u1,gold"))).text)
    async with talking(raw_ampersand=False) as talk:
        response = ElementTree.fromstring((await talk.post(rows("u1,gold"))).text)
        url = response.findtext("batchStatus", "")
        assert "&m2Node=mboxedge11" in url
        assert (await talk.get(url)).tag("status") == "incomplete"


@pytest.mark.parametrize(
    ("status_with_v2", "path", "expected"),
    [(False, V2, "/m2/demo/profile/"), (True, V2, "/m2/demo/v2/profile/"), (True, V1, "/m2/demo/profile/")],
)
async def test_the_status_url_may_lack_v2(status_with_v2: bool, path: str, expected: str) -> None:
    async with talking(status_with_v2=status_with_v2) as talk:
        answer = await talk.accept(rows("u1,gold"), path=path)
        assert answer.status_url.startswith(f"{talk.base_url}{expected}batchStatus?batchId=")
        assert await talk.state_of(answer) == "incomplete"


async def test_the_status_url_may_be_on_another_host() -> None:
    async with talking(status_base_url="http://mboxedge45.tt.omtrdc.net") as talk:
        answer = await talk.accept(rows("u1,gold"))
        assert answer.status_url.startswith("http://mboxedge45.tt.omtrdc.net/m2/demo/profile/batchStatus?")
    async with talking(status_base_url="http://localhost:{port}") as talk:
        answer = await talk.accept(rows("u1,gold"))
        port = talk.base_url.rpartition(":")[2]
        assert answer.status_url.startswith(f"http://localhost:{port}/m2/demo/")


# --- what refuses a batch ---------------------------------------------------------------------------

REFUSED = [
    ("no batch=", "thirdPartyId,tier\nu1,gold", {}, M.BODY_START),
    ("something before batch=", "x=1&batch=thirdPartyId,tier\nu1,gold", {}, M.BODY_START),
    ("byte order mark", "\ufeffbatch=thirdPartyId,tier\nu1,gold", {}, M.BOM),
    ("wrong first column", rows("u1,gold", header="customerId,tier"), {}, M.HEADER),
    ("first column in another case", rows("u1,gold", header="thirdpartyid,tier"), {}, M.HEADER),
    ("name with the profile prefix", rows("u1,gold", header="pcId,profile.tier"), {}, M.HEADER),
    ("reserved name", rows("u1,gold", header="pcId,mboxTier"), {}, M.HEADER),
    ("name that starts with a digit", rows("u1,gold", header="pcId,1tier"), {}, M.HEADER),
    ("empty name", rows("u1,gold", header="pcId,tier,"), {}, M.HEADER),
    ("name with a space", rows("u1,gold", header="pcId,my%20tier"), {}, M.HEADER),
    ("name of 129 characters", rows("u1,gold", header=f"pcId,{'n' * 129}"), {}, M.HEADER),
    ("same name twice", rows("u1,a,b", header="pcId,tier,tier"), {}, M.HEADER),
    ("text/csv", rows("u1,gold"), {"Content_Type": "text/csv"}, M.CONTENT_TYPE),
    ("multipart", rows("u1,gold"), {"Content_Type": "multipart/form-data; boundary=x"}, M.CONTENT_TYPE),
    ("another client code", rows("u1,gold"), {"path": "/m2/acme/v2/profile/batchUpdate"}, M.WRONG_CLIENT),
    ("bare %", rows("u1,50% off", "u2,gold"), {}, M.BARE_PERCENT),
    ("% and one digit at the end", rows("u1,gold%2"), {}, M.BARE_PERCENT),
]


@pytest.mark.parametrize(("body", "how", "mistake"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
async def test_a_wrong_batch_is_refused_with_200(body: str, how: dict[str, str], mistake: M) -> None:
    async with talking() as talk:
        answer = await talk.post(body, **how)
        assert answer.status == 200
        assert answer.refusal
        assert "batchStatus" not in answer.text
        assert "batchId" not in answer.text
        assert ElementTree.fromstring(answer.text).findtext("success") == "false"
        assert talk.mistakes() == [mistake]
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles() == {}
        assert talk.sandbox.state()["batches"] == []


async def test_a_bare_percent_is_answered_with_unexpected_error() -> None:
    async with talking() as talk:
        assert (await talk.post(rows("u1,100%"))).refusal == "Unexpected error"


async def test_a_charset_beside_the_content_type_is_fine_and_none_is_not() -> None:
    async with talking() as talk:
        given = "application/x-www-form-urlencoded; charset=UTF-8"
        assert (await talk.post(rows("u1,gold"), Content_Type=given)).is_accepted
        skipped = frozenset({"Content-Type"})
        async with talk.session.post(
            talk.base_url + V2, data=rows("u1,gold").encode(), skip_auto_headers=skipped
        ) as bare:
            assert "<success>false</success>" in await bare.text()


async def test_a_compressed_body_is_refused() -> None:
    async with (
        talking() as talk,
        talk.session.post(
            talk.base_url + V2,
            data=rows("u1,gold").encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            compress="deflate",
        ) as response,
    ):
        assert "<success>false</success>" in await response.text()
        assert talk.mistakes() == [M.CONTENT_ENCODING]


def body_of_bytes(size: int) -> bytes:
    start = b"batch=thirdPartyId,note\nu1,"
    return start + b"x" * (size - len(start))


async def test_fifty_million_bytes_are_too_many_and_one_less_is_not() -> None:
    async with talking() as talk:
        assert (await talk.post(body_of_bytes(49_999_999))).is_accepted
        assert (await talk.post(body_of_bytes(50_000_000))).status == 413
        assert talk.mistakes() == [M.TOO_LARGE]


async def test_a_body_of_unknown_size_is_cut_off_at_the_limit() -> None:
    async def pieces(size: int):  # type: ignore[no-untyped-def]
        body = body_of_bytes(size)
        for start in range(0, size, 100):
            yield body[start : start + 100]

    async with talking(max_bytes=1_000) as talk:
        for size, expected in ((999, 200), (1_000, 413)):
            async with talk.session.post(
                talk.base_url + V2,
                data=pieces(size),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            ) as response:
                assert response.status == expected


async def test_half_a_million_rows_are_taken_and_one_more_is_refused() -> None:
    async with talking() as talk:
        lines = [f"u{n},a" for n in range(500_000)]
        answer = await talk.accept(rows(*lines, header="thirdPartyId,tier") + "\n")
        assert counts(await talk.status(answer))[0] == 500_000
        one_more = await talk.post(rows(*lines, "one,more", header="thirdPartyId,tier"))
        assert one_more.refusal == "Number of rows exceeds the limit of 500000"
        assert talk.mistakes() == [M.TOO_MANY_ROWS]


# --- what a body means ------------------------------------------------------------------------------

DECODED = [
    ("documented, spaces raw", "u1,50%25 off %26 more", {"tier": "50% off & more"}, []),
    ("documented, spaces encoded", "u1,50%25%20off%20%26%20more", {"tier": "50% off & more"}, []),
    ("need no encoding", "u1,aZ09-.!~_*()", {"tier": "aZ09-.!~_*()"}, []),
    ("accented, encoded", "u1,caf%C3%A9", {"tier": "café"}, []),
    ("accented, raw", "u1,café", {"tier": "café"}, []),
    ("comma and line break", "u1,a%2Cb%0Ac%0D%0Ad", {"tier": "a,b\nc\r\nd"}, []),
    ("small hexadecimal digits", "u1,%c3%a9%2b", {"tier": "é+"}, []),
    ("once only", "u1,%2525", {"tier": "%25"}, []),
    ("plus becomes a space", "u1,a+b", {"tier": "a b"}, [M.RAW_PLUS]),
    ("encoded plus stays", "u1,a%2Bb", {"tier": "a+b"}, []),
    ("equals", "u1,a=b", {"tier": "a=b"}, [M.RAW_EQUALS]),
    ("quotes are part of the value", 'u1,"gold"', {"tier": '"gold"'}, [M.QUOTE]),
    ("quoted comma", 'u1,"a,b"', {"tier": '"a', "ltv": 'b"'}, [M.QUOTE]),
    ("short row", "u1,gold", {"tier": "gold"}, []),
    ("empty cell", "u1,,5", {"ltv": "5"}, []),
    ("trailing comma", "u1,gold,", {"tier": "gold"}, []),
    ("carriage return and line feed", "u1,gold\r\nu2,silver\r", {"tier": "gold"}, [M.RAW_SPECIAL]),
    ("blank lines", "\n\nu1,gold\n\n", {"tier": "gold"}, []),
    ("cut at a raw ampersand", "u1,rock & roll,5\nu2,gold", {"tier": "rock "}, [M.RAW_AMPERSAND]),
]


@pytest.mark.parametrize(("lines", "values", "mistakes"), [c[1:] for c in DECODED], ids=[c[0] for c in DECODED])
async def test_what_a_row_means(lines: str, values: dict[str, str], mistakes: list[M]) -> None:
    async with talking() as talk:
        await talk.accept(rows(lines))
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles()["u1"] == values
        assert talk.mistakes() == mistakes


@pytest.mark.parametrize("character", list("#$':;<>?@[\\]^`{|}/\t\x00\x7f"))
async def test_every_other_raw_character_is_a_mistake(character: str) -> None:
    async with talking() as talk:
        await talk.accept(rows(f"u1,a{character}b"))
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles() == {"u1": {"tier": f"a{character}b"}}
        assert talk.mistakes() == [M.RAW_SPECIAL]


async def test_bytes_that_are_not_utf8_are_replaced_and_a_mistake() -> None:
    async with talking() as talk:
        assert (await talk.post(b"batch=thirdPartyId,tier\nu1,caf\xe9")).is_accepted
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles() == {"u1": {"tier": "caf\ufffd"}}
        assert talk.mistakes() == [M.NOT_UTF8]


async def test_a_raw_ampersand_cuts_the_batch_and_batch_size_shows_what_remained() -> None:
    async with talking() as talk:
        status = await talk.apply(rows("u1,gold", "u2,rock & roll,7", "u3,gold", "u4,gold"))
        assert counts(status) == (2, 2, 2, 0, 0)
        assert talk.sandbox.profiles() == {"u1": {"tier": "gold"}, "u2": {"tier": "rock "}}
    async with talking() as talk:
        assert counts(await talk.apply("batch=thirdPartyId,tier&u1,gold\nu2,gold"))[0] == 0
        assert talk.mistakes() == [M.RAW_AMPERSAND, M.NO_ROWS]


async def test_empty_cells_never_clear_and_empty_rows_are_skipped() -> None:
    async with talking() as talk:
        await talk.apply(rows("u1,gold,5", "u2,silver,6"))
        status = await talk.apply(rows("u1,,7", "u2,,", "u3", "u4,"))
        assert counts(status) == (4, 4, 1, 0, 0)
        expected = {"u1": {"tier": "gold", "ltv": "7"}, "u2": {"tier": "silver", "ltv": "6"}}
        assert talk.sandbox.profiles() == expected
        assert talk.mistakes() == []


async def test_attribute_names_are_decoded_and_case_sensitive() -> None:
    async with talking() as talk:
        await talk.apply(rows("u1,a,b", header="thirdPartyId,T%69er,tier"))
        assert talk.sandbox.profiles() == {"u1": {"Tier": "a", "tier": "b"}}


ILLEGAL_IDS = {
    "raw plus": ("a+b", "a+b"),
    "encoded plus": ("a%2Bb", "a+b"),
    "raw slash": ("a/b", "a/b"),
    "encoded slash": ("a%2fb", "a/b"),
    "257 characters": ("x" * 257, "x" * 257),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("sent", "named"), ILLEGAL_IDS.values(), ids=ILLEGAL_IDS.keys())
async def test_illegal_ids_fail_their_row_only(sent: str, named: str) -> None:
    async with talking() as talk:
        status = await talk.apply(rows(f"{sent},gold", "u2,gold"))
        assert counts(status) == (2, 2, 1, 0, 1)
        assert [(p.findtext("id"), p.findtext("status")) for p in status.iter("profile")] == [(named, "failed")]
        assert talk.sandbox.profiles().keys() == {"u2"}
        assert M.ILLEGAL_ID in talk.mistakes()


async def test_an_id_is_decoded_and_may_have_256_characters() -> None:
    long_id = "é" * 256
    async with talking() as talk:
        status = await talk.apply(rows(f"{'%C3%A9' * 256},gold", "a%20b%2C,silver"))
        assert counts(status) == (2, 2, 2, 0, 0)
        assert talk.sandbox.profiles() == {long_id: {"tier": "gold"}, "a b,": {"tier": "silver"}}


async def test_a_row_longer_than_the_header_fails() -> None:
    async with talking() as talk:
        status = await talk.apply(rows("u1,a,b,c", "u2,a,b"))
        assert counts(status) == (2, 2, 1, 0, 1)
        assert talk.sandbox.profiles().keys() == {"u2"}
        assert talk.mistakes() == [M.LONG_ROW]


async def test_failed_ids_are_escaped_in_the_status_and_may_be_left_out() -> None:
    async with talking(failed_rows_listed=2) as talk:
        status = await talk.apply(rows("%3Ca%3E%26/,x", "b%00/,x", "c/,x"))
        assert [p.findtext("id") for p in status.iter("profile")] == ["<a>&/", "b\ufffd/"]
        assert counts(status) == (3, 3, 0, 0, 3)


# --- versions and kinds of id -----------------------------------------------------------------------


async def test_v2_creates_profiles_and_v1_only_updates_them() -> None:
    async with talking() as talk:
        assert counts(await talk.apply(rows("u1,gold"), path=V1)) == (1, 1, 0, 1, 0)
        assert talk.sandbox.profiles() == {}
        await talk.apply(rows("u1,gold", "u2,gold"))
        assert counts(await talk.apply(rows("u1,silver", "u3,silver"), path=V1)) == (2, 2, 1, 1, 0)
        assert talk.sandbox.profiles() == {"u1": {"tier": "silver"}, "u2": {"tier": "gold"}}


async def test_pc_ids_and_third_party_ids_are_apart() -> None:
    async with talking() as talk:
        await talk.apply(rows("u1,gold", header="pcId,tier"))
        assert talk.sandbox.profiles() == {}
        assert talk.sandbox.profiles("pcId") == {"u1": {"tier": "gold"}}


async def test_without_profiles_rows_are_still_read_and_counted() -> None:
    async with talking(keep_profiles=False) as talk:
        status = await talk.apply(rows("u1,gold", "u2,", "a/b,gold", "u4,a%20b"))
        assert counts(status) == (4, 4, 2, 0, 1)
        assert counts(await talk.apply(rows("u9,gold"), path=V1)) == (1, 1, 1, 0, 0)
        assert talk.sandbox.profiles() == {}
        await talk.accept(rows("u1,silver"))
        await talk.accept(rows("u1,bronze"))
        assert M.CLASH not in talk.mistakes()


# --- properties of reading --------------------------------------------------------------------------

CELLS = st.text(alphabet="a,\n\r%2B+/0 é", max_size=12)


@given(st.lists(CELLS, max_size=8))
def test_counts_agree_with_what_is_applied(lines: list[str]) -> None:
    read = read_body(rows(*lines).encode(), 500_000)
    if isinstance(read, Refusal):
        assert read.message == "Unexpected error"
        return
    assert isinstance(read, Batch)
    applied = list(updates(read))
    assert len(applied) == read.rows - read.empty - len(read.failed_ids)
    assert {profile_id for profile_id, _ in applied} <= read.ids
