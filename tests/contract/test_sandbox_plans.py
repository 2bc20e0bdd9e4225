"""Which call meets which fault, how plans are set, and a sandbox that serves for good."""

import asyncio

import aiohttp
import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan, SandboxOptions, running
from pipeline.sandbox import MistakeKind as M
from tests.contract.talk import FORM, rows, talking

# --- plans ------------------------------------------------------------------------------------------


async def test_throttling_faults_and_throttled_calls_keep_the_budget_and_the_numbers() -> None:
    async with talking(FaultPlan(posts={1: Fault.THROTTLE_503, 3: Fault.HTTP_500}), calls_per_minute=1) as talk:
        assert (await talk.post(rows("u1,a"))).status == 503
        assert (await talk.post(rows("u1,a"))).is_accepted
        assert (await talk.post(rows("u2,a"))).status == 503
        talk.clock.now_s += 60.0
        assert (await talk.post(rows("u2,a"))).status == 500
        assert talk.mistakes() == [M.THROTTLED]


async def test_a_new_plan_counts_from_one_again() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,a"))
        talk.sandbox.faults = FaultPlan(posts={1: Fault.HTTP_500})
        assert (await talk.post(rows("u2,a"))).status == 500
        assert (await talk.post(rows("u2,a"))).is_accepted


async def test_faults_can_be_planned_over_http() -> None:
    async with talking() as talk:
        plan = {"posts": {"2": "http_502"}, "status_chances": {"status_500": 1.0}, "failing_ids": ["u1"]}
        answer = await talk.post_json("/sandbox/faults", plan)
        assert answer.status == 200
        in_force = FaultPlan.from_json(orjson.loads(answer.text))
        assert in_force == talk.sandbox.faults == FaultPlan.from_json(await talk.get_json("/sandbox/faults"))
        assert in_force == FaultPlan(
            posts={2: Fault.HTTP_502}, status_chances={Fault.STATUS_500: 1.0}, failing_ids=frozenset({"u1"})
        )
        accepted = await talk.accept(rows("u1,a"))
        assert (await talk.post(rows("u2,a"))).status == 502
        assert (await talk.get(accepted.status_url)).status == 500


WRONG_PLANS = [
    [],
    {"post": {}},
    {"posts": {"1": "no_such_fault"}},
    {"posts": {"1": "status_500"}},
    {"posts": {"0": "http_500"}},
    {"posts": ["http_500"]},
    {"posts": {"first": "http_500"}},
    {"statuses": {"1": "http_502"}},
    {"status_chances": {"garbage_taken": 0.1}},
    {"post_chances": {"http_500": 0.6, "http_502": 0.6}},
    {"post_chances": {"http_500": -0.1}},
]


@pytest.mark.parametrize("wrong", WRONG_PLANS, ids=str)
async def test_an_impossible_plan_is_refused_and_the_old_one_stays(wrong: object) -> None:
    old = FaultPlan(posts={1: Fault.HTTP_502})
    async with talking(old) as talk:
        answer = await talk.post_json("/sandbox/faults", wrong)
        assert answer.status == 400
        assert answer.text.strip()
        assert talk.sandbox.faults == old


def test_chances_are_kept_and_repeat_with_the_seed() -> None:
    chances = {Fault.HTTP_500: 0.25, Fault.HANG_TAKEN: 0.25}
    plan = FaultPlan(post_chances=chances, status_chances={Fault.STATUS_500: 0.5}, seed=3)
    drawn = [plan.for_post(n) for n in range(1, 2_001)]
    assert drawn == [FaultPlan(post_chances=chances, seed=3).for_post(n) for n in range(1, 2_001)]
    assert drawn != [FaultPlan(post_chances=chances, seed=4).for_post(n) for n in range(1, 2_001)]
    for fault, share in ((Fault.HTTP_500, 0.25), (Fault.HANG_TAKEN, 0.25), (None, 0.5)):
        assert drawn.count(fault) / 2_000 == pytest.approx(share, abs=0.05)
    statuses = [plan.for_status(n) for n in range(1, 2_001)]
    assert statuses.count(Fault.STATUS_500) / 2_000 == pytest.approx(0.5, abs=0.05)
    assert FaultPlan(posts={5: Fault.SLOW}, post_chances=chances, seed=3).for_post(5) is Fault.SLOW


async def test_serving_for_good_announces_its_url_and_ends_when_cancelled() -> None:
    announced: asyncio.Queue[str] = asyncio.Queue()
    plan = FaultPlan(posts={1: Fault.HTTP_502})
    options = SandboxOptions(client_code="acme")

    async def serve() -> None:
        async with running(options, faults=plan) as run:
            announced.put_nowait(run.base_url)
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    base_url = await announced.get()
    async with aiohttp.ClientSession() as session:
        url = f"{base_url}/m2/acme/v2/profile/batchUpdate"
        async with session.post(url, data=b"batch=", headers={"Content-Type": FORM}) as response:
            assert response.status == 502
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert announced.empty()
