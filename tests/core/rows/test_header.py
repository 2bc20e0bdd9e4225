"""Which columns are sent under which names, and what is said of a header that cannot be used: never a cell."""

import re
import tomllib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ExitCode, HeaderError
from pipeline.core.rows.cells import INVISIBLE
from pipeline.core.rows.header import parameter_name_problem, plan_columns, suggest_parameter_name
from pipeline.core.rows.mapping import ColumnPlan

# Parameter names.


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "Z",
        "tier",
        "last_visit",
        "a1",
        "A_",
        "x" * 128,
        "pcid",
        "users",
        "User",
        "profile",
        "Mbox",
        "browser",
        "automobile",
    ],
)
def test_parameter_names_that_target_takes(name: str) -> None:
    assert parameter_name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("profile.tier", "begins with 'profile.'"),
        ("user.tier", "begins with 'user.'"),
        ("crs.tier", "begins with 'crs.'"),
        ("entity.id", "begins with 'entity.'"),
        ("mboxPC", "begins with 'mbox'"),
        ("mbox", "begins with 'mbox'"),
        ("user", "is a name that Target keeps"),
        ("parameter", "is a name that Target keeps"),
        ("browserTime", "is a name that Target keeps"),
        ("sessionCount", "is a name that Target keeps"),
        ("averageDaysBetweenVisits", "is a name that Target keeps"),
        ("geolocationCity", "begins with 'geolocation'"),
        ("mobileDeviceModel", "begins with 'mobile'"),
        ("thirdPartyId", "is what Target calls the profile id"),
        ("pcId", "is what Target calls the profile id"),
        ("1a", "does not begin with a letter"),
        ("_a", "does not begin with a letter"),
        ("a b", "has other characters"),
        ("a-b", "has other characters"),
        ("a.b", "has other characters"),
        ("a\n", "has other characters"),
        ("é", "has other characters"),
        ("a٣", "has other characters"),
        ("x" * 129, "is longer than 128 characters"),
    ],
)
def test_parameter_names_that_target_does_not_take(name: str, problem: str) -> None:
    found = parameter_name_problem(name)
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("tier", "tier"),
        ("Loyalty tier", "Loyalty_tier"),
        (" 50% & more! ", "crm_50_more"),
        ("profile.tier", "tier"),
        ("profile.user.tier", "tier"),
        ("mboxPC", "PC"),
        ("mbox mbox", "crm_mbox"),
        ("pcId", "crm_pcId"),
        ("browserTime", "crm_browserTime"),
        ("Mobile phone", "Mobile_phone"),
        ("mobile", "crm_mobile"),
        ("2nd", "crm_2nd"),
        ("日本", "crm"),
        ("", "crm"),
        ("x" * 200, "x" * 128),
        ("1" * 200, "crm_" + "1" * 124),
    ],
)
def test_suggested_names(column: str, name: str) -> None:
    assert suggest_parameter_name(column) == name


WORDS = st.lists(
    st.sampled_from(["profile.", "mbox", "user", "mobile", "crs.", "pcId", "_", ".", " ", "1", "a", "é", "\n"])
)


@given(st.text() | WORDS.map("".join) | st.text(min_size=120, max_size=140))
def test_a_suggested_name_is_one_that_target_takes(column: str) -> None:
    assert parameter_name_problem(suggest_parameter_name(column)) is None


# Columns.


def plan(
    header: Sequence[str], columns: Mapping[str, str] | None = None, *, unlisted: str = "stop", id_column: str = "id"
) -> ColumnPlan:
    return plan_columns(header, id_column=id_column, id_kind="thirdPartyId", columns=columns or {}, unlisted=unlisted)


def test_columns_are_sent_in_the_order_of_the_header() -> None:
    found = plan(["b", "id", "My tier", "c"], {"My tier": "tier", "b": "b1", "c": "c"})
    assert found == ColumnPlan(
        4, "thirdPartyId", 1, (0, 2, 3), ("b1", "tier", "c"), header=(b"b", b"id", b"My tier", b"c")
    )
    assert found.body_start == b"batch=thirdPartyId,b1,tier,c\n"


@pytest.mark.parametrize(("unlisted", "parameters"), [("ignore", ("tier",)), ("send", ("a", "tier")), ("stop", None)])
def test_unlisted_columns(unlisted: str, parameters: tuple[str, ...] | None) -> None:
    if parameters is None:
        with pytest.raises(HeaderError, match="column 'a' is not listed"):
            plan(["id", "a", "My tier"], {"My tier": "tier"}, unlisted=unlisted)
    else:
        assert plan(["id", "a", "My tier"], {"My tier": "tier"}, unlisted=unlisted).parameters == parameters


def test_the_kind_of_the_ids_is_in_the_header_row() -> None:
    found = plan_columns(["u", "a"], id_column="u", id_kind="pcId", columns={"a": "x"}, unlisted="stop")
    assert found.body_start == b"batch=pcId,x\n"


HEADER_21 = [f"c{number}" for number in range(21)]


@pytest.mark.parametrize(
    "row",
    [
        ["MARK", "a@b"],
        ["MARK", "MARK", "2026-11-24"],
        ["MARK123"],
        ["MARK", "12,5"],
        ["MARK", "of", "words"],
        ["tiers"],
    ],
)
@pytest.mark.parametrize("unlisted", ["stop", "send", "ignore"])
def test_a_row_in_place_of_the_header_is_not_quoted(row: list[str], unlisted: str) -> None:
    with pytest.raises(HeaderError, match="set \\[export\\] header = false") as raised:
        plan(row, {"tier": "tier"}, unlisted=unlisted)
    said = str(raised.value)
    assert f"which has {len(row)} column" in said
    assert {"id", "tier"} <= set(re.findall("'(.*?)'", said)), "configured columns are named"
    assert not [cell for cell in row if cell in said]


@pytest.mark.parametrize("unlisted", ["stop", "send", "ignore"])
def test_without_the_id_column_no_other_column_is_named(unlisted: str) -> None:
    """A row may hold the name of a column as a value; the columns that resemble a missing one are named then."""
    with pytest.raises(HeaderError) as raised:
        plan(["MARK", "gold", "MARK", "mboxMARK", ""], {"gold": "tier"}, unlisted=unlisted)
    assert "'id' ([export] id_column) is not in the header row, which has 5 columns." in str(raised.value)
    assert "MARK" not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "columns", "unlisted", "words"),
    [
        (["id", "a", "a", "b", "b"], {}, "send", ["'a' (columns 2, 3), 'b' (columns 4, 5) are sent, and are in the"]),
        (["id", "id", "a"], {}, "send", ["'id' (columns 1, 2) is the id column, and is in the header more than once"]),
        (["id", "a", "a"], {"a": "x"}, "ignore", ["'a' (columns 2, 3) is sent"]),
        (["key", "a"], {}, "send", ["the column 'id' ([export] id_column) is not in the header row, which has 2 col"]),
        (["key"], {}, "send", ["which has 1 column.", "Set [export] delimiter"]),
        ([" id", "a"], {"a": "a"}, "send", ["'id' ([export] id_column) is not", "did you mean column 1?"]),
        (["ID", "a"], {"a": "a"}, "send", ["did you mean column 1?"]),
        ([" I D ", "a"], {}, "send", ["did you mean column 1 for 'id', which is spelled alike?"]),
        (["id", "Bé"], {"be": "b"}, "send", ["'be' ([export] columns) is not", "did you mean 'Bé'?"]),
        (["id", "tiers"], {"tier": "t", "c": "c"}, "ignore", ["'tier', 'c' ([export] columns) are", "'tiers' for 't"]),
        (
            ["I.D.", "a", "y"],
            {"a": "a", "x": "x"},
            "stop",
            ["'id' ([export] id_column) and 'x' ([export] columns) are"],
        ),
        (["id", "a"], {"b": "b"}, "ignore", ["the column 'b' ([export] columns) is not in the header row"]),
        (["id", "a", "My b"], {}, "stop", ["columns 'a', 'My b' are not listed", 'a = "a"', 'unlisted = "ignore"']),
        (["id", "My b"], {}, "stop", ["column 'My b' is not listed", '"My b" = "My_b"']),
        (["id", *HEADER_21], {}, "stop", ["'c9' and 11 more are not listed"]),
        (["id", "a", "", " "], {"a": "a"}, "stop", ["2 unnamed columns (positions 3, 4) are not listed", "Set unlis"]),
        (["id", "a", ""], {}, "stop", ["column 'a' and 1 unnamed column (position 3) are not listed"]),
        (["id", "My b"], {}, "send", ["column 'My b'", "the name 'My b'", "other characters", '"My b" = "My_b"']),
        (["id", "mboxPC", "user", "a"], {}, "send", ["'mboxPC'", 'mboxPC = "PC"', "'user'", 'user = "crm_user"']),
        (["id", "browserTime"], {}, "send", ["'browserTime': it is a name that Target keeps for itself"]),
        (["id", *[f"mbox{n}" for n in range(15)]], {}, "send", ["'mbox9'", "So it is with 5 more"]),
        (["id", "a"], {"a": "profile.a"}, "stop", ["column 'a'", "the name 'profile.a'", "begins with 'profile.'"]),
        (["id", "a", "b"], {"a": "x", "b": "x"}, "stop", ["columns 'a', 'b' would all be sent as 'x'"]),
        (["id", "a", "b"], {"b": "a"}, "send", ["columns 'a', 'b' would all be sent as 'a'"]),
        (["id", "a", "a", "mbox"], {"b": "b"}, "send", ["'b' ([export] columns)", "'a' (columns 2, 3)", "'mbox'"]),
        (["id"], {}, "send", ["no column to send besides the id column 'id'"]),
        (["id", "", " "], {}, "send", ["no column to send besides the id column 'id'"]),
        (["id", "a"], {}, "ignore", ["no column to send besides the id column 'id'"]),
    ],
)
def test_headers_that_cannot_be_sent(
    header: list[str], columns: dict[str, str], unlisted: str, words: list[str]
) -> None:
    with pytest.raises(HeaderError) as caught:
        plan(header, columns, unlisted=unlisted)
    assert caught.value.exit_code == ExitCode.EXPORT_UNUSABLE
    for each in words:
        assert each in str(caught.value)


@pytest.mark.parametrize(
    ("header", "columns", "unlisted", "unnamed"),
    [
        (["id", "a", "", ""], {"a": "a"}, "ignore", 0),
        (["id", "a", "b", "b"], {"a": "a"}, "ignore", 0),
        (["", "id", "a", "\t"], {}, "send", 2),
        (["id", "", "a"], {"": "x"}, "send", 0),
    ],
)
def test_unnamed_and_repeated_columns_that_are_not_sent(
    header: list[str], columns: dict[str, str], unlisted: str, unnamed: int
) -> None:
    found = plan(header, columns, unlisted=unlisted)
    assert found.unnamed == unnamed
    assert found.field_count == len(header)


@pytest.mark.parametrize("character", "\n\r\v\f\x85\u2028\u2029")
@pytest.mark.parametrize("unlisted", ["ignore", "send"])
def test_no_name_holds_a_line_break(character: str, unlisted: str) -> None:
    header = ["id", "a", f"MARK{character}u1", "MARK"]
    with pytest.raises(HeaderError, match="column 3 of the 4 in the header row holds a line break") as raised:
        plan(header, {"a": "a"}, unlisted=unlisted)
    assert "MARK" not in str(raised.value)


def test_positions_in_place_of_names() -> None:
    header = ["1", "2", "3"]
    found = plan_columns(
        header, id_column="3", id_kind="pcId", columns={"1": "tier"}, unlisted="ignore", has_header=False
    )
    assert (found.id_index, found.cell_indexes, found.parameters) == (2, (0,), ("tier",))
    for columns, id_column, words in (
        ({"2": "a", "14": "b"}, "4", "'4' ([export] id_column) and '14' ([export] columns) are not in the first row"),
        ({"2": "a", "4": "b"}, "1", "the column '4' ([export] columns) is not in the first row, which has 3 columns."),
        ({"5": "a"}, "4", "which has 3 columns. Set [export] delimiter"),
    ):
        with pytest.raises(HeaderError, match=re.escape(words)):
            plan_columns(
                header, id_column=id_column, id_kind="pcId", columns=columns, unlisted="ignore", has_header=False
            )


def suggested_entry(column: str) -> str:
    """What the message for an unlisted column says should be added to the configuration."""
    with pytest.raises(HeaderError) as caught:
        plan(["id", column])
    return str(caught.value).partition("for example ")[2].rpartition(", or set unlisted")[0]


@pytest.mark.parametrize(
    "column",
    [
        *["tier", "My tier", 'say "hi"', "a.b", "é", "#", "[x]", "a=b", "50% & more", "a\tb"],
        *["a\\b", "a\x7f", "\x00", "a\x1f", "😀"],
    ],
)
def test_a_suggestion_can_be_pasted_into_the_configuration(column: str) -> None:
    assert tomllib.loads(suggested_entry(column)) == {column: suggest_parameter_name(column)}


@given(st.text(st.characters(codec="utf-8"), max_size=100))
def test_a_suggestion_for_any_column_can_be_pasted(column: str) -> None:
    if column != "id" and column.strip(INVISIBLE) and not set(column) & set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        assert tomllib.loads(suggested_entry(column)) == {column: suggest_parameter_name(column)}
