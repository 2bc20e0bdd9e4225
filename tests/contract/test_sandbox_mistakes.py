"""What the sandbox notices: ids sent too early, older versions that win, repeats; and how it shows them."""

import hashlib

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan, running
from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.batch import Batch, read_body
from pipeline.sandbox.mistakes import MISTAKES_KEPT, Mistake, Mistakes
from pipeline.sandbox.profiles import Profiles
from tests.contract.talk import Talk, rows, talking


async def seed_where(first_is_applied_last: bool) -> int:
    """A seed under which the first of two batches is applied after the second, or before."""
    for seed in range(100):
        async with talking(seed=seed, apply_min_s=1.0, apply_max_s=9.0) as talk:
            await talk.accept(rows("u1,a"))
            await talk.accept(rows("u2,b"))
            first, second = (batch["due_s"] for batch in (await talk.get_json("/sandbox/state"))["batches"])
            if (first > second) is first_is_applied_last:
                return seed
    raise AssertionError("no such seed")


def batch_ids(talk: Talk, kind: M) -> list[str | None]:
    return [mistake.batch_id for mistake in talk.sandbox.mistakes if mistake.kind is kind]


# --- clashes ----------------------------------------------------------------------------------------


async def test_an_id_in_two_batches_under_way_is_a_clash() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,gold", "u2,gold", "u3,gold"))
        answer = await talk.accept(rows("u2,silver", "u3,silver", "u4,silver"))
        [clash] = talk.sandbox.mistakes
        assert clash.kind is M.CLASH
        assert clash.count == 2
        assert clash.batch_id is not None
        assert clash.batch_id in answer.status_url
        assert "demo-1700000000000-10000001" in clash.detail
        assert "'u2', 'u3'" in clash.detail


async def test_no_clash_once_the_first_is_applied_or_with_other_ids_or_kinds() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,gold"))
        await talk.accept(rows("u2,gold"))
        await talk.accept(rows("u1,gold", header="pcId,tier"))
        talk.clock.now_s += 10.0
        await talk.accept(rows("u1,silver"))
        assert talk.mistakes() == []


async def test_a_batch_without_an_answer_clashes_too() -> None:
    async with talking(FaultPlan(posts={1: Fault.GARBAGE_TAKEN, 2: Fault.GARBAGE_LOST})) as talk:
        await talk.post(rows("u1,gold"))
        await talk.post(rows("u2,gold"))
        await talk.accept(rows("u1,silver"))
        await talk.accept(rows("u2,silver"))
        assert talk.mistakes() == [M.CLASH]


async def test_the_same_bytes_again_are_a_repeat_and_no_clash() -> None:
    async with talking() as talk:
        for _ in range(3):
            await talk.accept(rows("u1,gold"))
        assert talk.mistakes() == []
        state = await talk.get_json("/sandbox/state")
        first, second, third = (batch["id"] for batch in state["batches"])
        assert state["repeats"] == [{"batch_id": second, "of": first}, {"batch_id": third, "of": first}]


async def test_a_duplicate_id_within_a_batch_is_a_mistake_and_the_later_row_wins() -> None:
    async with talking() as talk:
        await talk.apply(rows("u1,gold", "u2,gold", "u1,silver"))
        [mistake] = talk.sandbox.mistakes
        assert (mistake.kind, mistake.count) == (M.DUPLICATE_ID, 1)
        assert "'u1'" in mistake.detail
        assert "'u2'" not in mistake.detail
        assert talk.sandbox.profiles()["u1"] == {"tier": "silver"}


# --- stale overwrites -------------------------------------------------------------------------------


@pytest.mark.parametrize("first_is_applied_last", [True, False])
async def test_an_older_batch_applied_after_a_newer_one_is_a_stale_overwrite(
    first_is_applied_last: bool,
) -> None:
    seed = await seed_where(first_is_applied_last)
    async with talking(seed=seed, apply_min_s=1.0, apply_max_s=9.0) as talk:
        await talk.accept(rows("u1,gold", "u2,gold"))
        await talk.accept(rows("u1,silver"))
        first = "demo-1700000000000-10000001"
        assert batch_ids(talk, M.STALE_OVERWRITE) == []
        talk.clock.now_s += 9.0
        assert batch_ids(talk, M.STALE_OVERWRITE) == ([first] if first_is_applied_last else [])


def test_a_stale_overwrite_does_not_hide_the_next_one() -> None:
    profiles = Profiles("merge", keep=True)
    stale = []
    for order in (3, 1, 2):
        batch = read_body(rows(f"u1,{order}").encode(), 1)
        assert isinstance(batch, Batch)
        applied = profiles.apply(batch, order=order, at_ms=0, creates=True)
        stale.append(applied.stale)
    assert stale == [(), ("u1",), ("u1",)]


async def test_a_repeat_after_a_lost_answer_is_stale_once_something_newer_was_applied() -> None:
    for lost in (Fault.GARBAGE_LOST, Fault.GARBAGE_TAKEN, Fault.HTTP_500, Fault.HTTP_500_TAKEN):
        async with talking(FaultPlan(posts={1: lost})) as talk:
            await talk.post(rows("u1,gold"))
            talk.sandbox.apply_all()
            await talk.apply(rows("u1,silver"))
            assert batch_ids(talk, M.STALE_OVERWRITE) == []
            await talk.apply(rows("u1,gold"))
            assert len(batch_ids(talk, M.STALE_OVERWRITE)) == 1, lost


async def test_a_repeat_before_anything_newer_is_harmless() -> None:
    async with talking(FaultPlan(posts={1: Fault.GARBAGE_TAKEN})) as talk:
        await talk.post(rows("u1,gold"))
        await talk.apply(rows("u1,gold"))
        await talk.apply(rows("u1,silver"))
        assert talk.mistakes() == []


@pytest.mark.parametrize("refusal", [Fault.REFUSE, Fault.THROTTLE_503])
async def test_what_was_surely_not_taken_has_no_place_in_the_order(refusal: Fault) -> None:
    async with talking(FaultPlan(posts={1: refusal})) as talk:
        await talk.post(rows("u1,gold"))
        await talk.apply(rows("u1,silver"))
        await talk.apply(rows("u1,gold"))
        assert talk.mistakes() == []


async def test_going_back_to_an_earlier_value_is_no_mistake() -> None:
    async with talking() as talk:
        for tier in ("gold", "silver", "gold"):
            await talk.apply(rows(f"u1,{tier}"))
        assert talk.mistakes() == []
        assert len((await talk.get_json("/sandbox/state"))["repeats"]) == 1


# --- what is shown ----------------------------------------------------------------------------------


async def test_the_state_tells_what_happened() -> None:
    async with talking(FaultPlan(posts={2: Fault.STUCK}, stuck_applied_chance=0.0), token="t") as talk:
        body = rows("u1,gold", 'u2,"silver"')
        await talk.post(body, Authorization="Bearer t")
        talk.clock.now_s += 10.0
        await talk.post(rows("u3,gold"), Authorization="Bearer t")
        await talk.post(rows("u4,gold"))
        state = await talk.get_json("/sandbox/state")
        assert state["batches"] == [
            {
                "id": "demo-1700000000000-10000001",
                "api_version": "v2",
                "rows": 2,
                "bytes": len(body),
                "sha256": hashlib.sha256(body.encode()).hexdigest(),
                "state": "applied",
                "accepted_s": 0.0,
                "due_s": 10.0,
                "applied_s": 10.0,
                "fault": None,
            },
            {
                **state["batches"][1],
                "id": "demo-1700000010000-10000002",
                "state": "waiting",
                "accepted_s": 10.0,
                "applied_s": None,
                "fault": "stuck",
            },
        ]
        expected = {"posts": 3, "statuses": 0, "profile_reads": 0, "throttled": 0, "unauthorised": 1}
        assert state["calls"] == expected
        assert state["profiles"] == 2
        assert state["mistake_counts"] == {"quote": 1, "wrong token": 1}
        quote = {"kind": "quote", "detail": "'\"' x2", "count": 2, "batch_id": "demo-1700000000000-10000001"}
        assert state["mistakes"][0] == quote
        assert state["faults_met"] == [{"call": "post", "number": 2, "fault": "stuck"}]
        assert state["faults"]["posts"] == {"2": "stuck"}
        assert state == orjson.loads(orjson.dumps(talk.sandbox.state()))


async def test_a_person_finds_an_overview() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,gold"))
        for path in ("/sandbox/", "/sandbox"):
            answer = await talk.get(path)
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "POST /m2/demo/v2/profile/batchUpdate" in answer.text
            assert "1 batches accepted, 0 profiles, 0 mistakes" in answer.text


async def test_waiting_batches_can_be_applied_over_http() -> None:
    async with talking() as talk:
        answer = await talk.accept(rows("u1,gold"))
        assert (await talk.post_json("/sandbox/apply", {})).status == 200
        assert await talk.state_of(answer) == "complete"


def test_a_broken_sender_does_not_fill_the_memory() -> None:
    mistakes = Mistakes()
    for _ in range(MISTAKES_KEPT + 5):
        mistakes.note(Mistake(M.QUOTE, ""))
    assert len(mistakes.kept) == MISTAKES_KEPT
    assert mistakes.counts[M.QUOTE] == MISTAKES_KEPT + 5


# --- running ----------------------------------------------------------------------------------------


async def test_running_listens_on_a_free_port_with_real_time() -> None:
    async with running() as one, running() as other:
        assert one.base_url.startswith("http://127.0.0.1:")
        assert one.base_url != other.base_url
        assert one.sandbox.state()["batches"] == []
