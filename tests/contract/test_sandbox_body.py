"""What a batch body means: rows, cells, encoding and its documented consequences, ids, versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.batch import Batch, Refusal, read_body, updates
from pipeline.sandbox.options import Decode
from tests.contract.talk import V1, counts, rows, talking

# --- what a body means ------------------------------------------------------------------------------

DECODED = [
    ("documented, spaces raw", "u1,50%25 off %26 more", {"tier": "50% off & more"}, []),
    ("documented, spaces encoded", "u1,50%25%20off%20%26%20more", {"tier": "50% off & more"}, []),
    ("need no encoding", "u1,aZ09-.!~_*()", {"tier": "aZ09-.!~_*()"}, []),
    ("accented, encoded", "u1,caf%C3%A9", {"tier": "café"}, []),
    ("accented, raw", "u1,café", {"tier": "café"}, []),
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


@pytest.mark.parametrize("decode", ["before", "after"])
@pytest.mark.parametrize(("lines", "values", "mistakes"), [c[1:] for c in DECODED], ids=[c[0] for c in DECODED])
async def test_what_a_row_means(lines: str, values: dict[str, str], mistakes: list[M], decode: str) -> None:
    async with talking(decode=decode) as talk:
        await talk.accept(rows(lines))
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles()["u1"] == values
        assert talk.mistakes() == mistakes


#: Rows of the header `id,tier,ltv`; the profiles that decoding before the split makes of them, and decoding after it.
SPLIT = {
    "comma": ("u1,a%2Cb,5", {"u1": {"tier": "a", "ltv": "b"}}, {"u1": {"tier": "a,b", "ltv": "5"}}),
    "small digits": ("u1,a%2cb", {"u1": {"tier": "a", "ltv": "b"}}, {"u1": {"tier": "a,b"}}),
    "line feed": ("u1,a%0Au9", {"u1": {"tier": "a"}}, {"u1": {"tier": "a\nu9"}}),
    "line feed, then a comma": (
        "u1,a%0Au9%2Cb",
        {"u1": {"tier": "a"}, "u9": {"tier": "b"}},
        {"u1": {"tier": "a\nu9,b"}},
    ),
    "line feed within the row": (
        "u1,a%0Au9,5",
        {"u1": {"tier": "a"}, "u9": {"tier": "5"}},
        {"u1": {"tier": "a\nu9", "ltv": "5"}},
    ),
    "carriage return": (
        "u1,a%0Du9,5",
        {"u1": {"tier": "a"}, "u9": {"tier": "5"}},
        {"u1": {"tier": "a\ru9", "ltv": "5"}},
    ),
    "both are one": ("u1,a%0D%0A,5", {"u1": {"tier": "a"}}, {"u1": {"tier": "a\r\n", "ltv": "5"}}),
    "comma in an id": ("u%2C1,a,5", {"u": {"tier": "1", "ltv": "a"}}, {"u,1": {"tier": "a", "ltv": "5"}}),
    "not twice": (
        "u1,a%252Cb%250A,5",
        {"u1": {"tier": "a%2Cb%0A", "ltv": "5"}},
        {"u1": {"tier": "a%2Cb%0A", "ltv": "5"}},
    ),
}


@pytest.mark.parametrize(("line", "before", "after"), SPLIT.values(), ids=SPLIT.keys())
async def test_encoded_delimiters_separate_where_decoding_comes_first(
    line: str, before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    async with talking() as talk:
        await talk.apply(rows(line))
        assert talk.sandbox.profiles() == before
        assert (M.ENCODED_DELIMITER in talk.mistakes()) is (before != after)
    async with talking(decode="after") as talk:
        await talk.apply(rows(line))
        assert talk.sandbox.profiles() == after
        assert talk.mistakes() == []


async def test_batch_size_counts_the_rows_that_were_read() -> None:
    async with talking() as talk:
        status = await talk.apply(rows("u1,a%0Au9%2Cb", "u2,c"))
        assert counts(status) == (3, 3, 3, 0, 0)


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


@pytest.mark.parametrize(
    "body", ["batch=thirdPartyId,tier&u1,gold\nu2,gold", "batch=thirdPartyId,tier\n&u1,gold", "batch=&"]
)
@pytest.mark.parametrize("decode", ["before", "after"])
async def test_a_raw_ampersand_before_the_first_row_leaves_an_empty_batch(body: str, decode: str) -> None:
    async with talking(decode=decode) as talk:
        assert (await talk.post(body)).refusal == "Batch is empty"
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
    # Decoded before the split, a raw plus is a space, which an id may hold.
    async with talking(decode="after" if sent == "a+b" else "before") as talk:
        status = await talk.apply(rows(f"{sent},gold", "u2,gold"))
        assert counts(status) == (2, 2, 1, 0, 1)
        assert [(p.findtext("id"), p.findtext("status")) for p in status.iter("profile")] == [(named, "failed")]
        assert talk.sandbox.profiles().keys() == {"u2"}
        assert M.ILLEGAL_ID in talk.mistakes()


async def test_an_id_is_decoded_and_may_have_256_characters() -> None:
    long_id = "é" * 256
    async with talking() as talk:
        status = await talk.apply(rows(f"{'%C3%A9' * 256},gold", "a%20b%3B,silver"))
        assert counts(status) == (2, 2, 2, 0, 0)
        assert talk.sandbox.profiles() == {long_id: {"tier": "gold"}, "a b;": {"tier": "silver"}}


async def test_cells_beyond_the_header_are_dropped_or_fail_their_row() -> None:
    async with talking() as talk:
        assert counts(await talk.apply(rows("u1,a,b,c", "u2,,,c"))) == (2, 2, 1, 0, 0)
        assert talk.sandbox.profiles() == {"u1": {"tier": "a", "ltv": "b"}}
        assert talk.mistakes() == [M.LONG_ROW]
    async with talking(decode="after") as talk:
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


@given(st.lists(CELLS, max_size=8), st.sampled_from(["before", "after"]))
def test_counts_agree_with_what_is_applied(lines: list[str], decode: Decode) -> None:
    read = read_body(rows(*lines).encode(), 500_000, decode)
    if isinstance(read, Refusal):
        assert read.message in ("Unexpected error", "Batch is empty")
        return
    assert isinstance(read, Batch)
    applied = list(updates(read))
    assert len(applied) == read.rows - read.empty - len(read.failed_ids)
    assert {profile_id for profile_id, _ in applied} <= read.ids
