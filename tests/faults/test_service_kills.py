"""A few kills of the service at random moments; `python -m tests.tools.faults.service_kills` does any number."""

from tests.tools.faults.service_kills import kill_until_loaded


async def test_whenever_the_service_is_killed_every_export_is_loaded_once_and_in_order() -> None:
    told = await kill_until_loaded(5, drops=8, seed=1)
    assert (told["kills"], told["exports"]) == (5, 8)


async def test_whenever_it_is_killed_with_two_client_codes_under_way_both_end_right() -> None:
    told = await kill_until_loaded(4, drops=6, seed=2, client_codes=2)
    assert (told["kills"], told["exports"]) == (4, 12)
