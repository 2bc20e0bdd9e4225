"""Profiles read back, as Target does and as the sandbox lists them."""

from urllib.parse import unquote

import orjson
import pytest
from yarl import URL

from tests.contract.talk import WALL_S, rows, talking


async def test_a_profile_is_read_back_in_the_documented_form() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,gold,5"))
        talk.clock.now_s += 10.0
        await talk.accept(rows("u1,silver"))
        talk.clock.now_s += 10.5
        assert round(WALL_S) == 1_700_000_000
        assert await talk.get_json("/rest/v1/profiles/thirdPartyId/u1?client=demo") == {
            "client": "demo",
            "visitorId": "u1",
            "modifiedAt": "2023-11-14T22:13:40.000+00:00",
            "profileAttributes": {
                "tier": {"value": "silver", "modifiedAt": "2023-11-14T22:13:40.000+00:00"},
                "ltv": {"value": "5", "modifiedAt": "2023-11-14T22:13:30.000+00:00"},
            },
        }


NOT_THERE = [
    ("/rest/v1/profiles/thirdPartyId/U1?client=demo", "client demo with third party id=U1"),
    ("/rest/v1/profiles/U1?client=demo", "client demo with mboxPC=U1"),
    ("/rest/v1/profiles/thirdPartyId/known?client=acme", "client acme with third party id=known"),
    ("/rest/v1/profiles/known?client=demo", "client demo with mboxPC=known"),
]


@pytest.mark.parametrize(("url", "named"), NOT_THERE)
async def test_a_profile_that_is_not_there_is_answered_404(url: str, named: str) -> None:
    async with talking() as talk:
        await talk.apply(rows("known,gold"))
        answer = await talk.get(url)
        assert answer.status == 404
        assert orjson.loads(answer.text) == {"status": 404, "message": f"No profile found for {named}"}


async def test_a_profile_is_not_there_before_it_is_applied() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,gold"))
        url = "/rest/v1/profiles/thirdPartyId/u1?client=demo"
        assert (await talk.get(url)).status == 404
        talk.clock.now_s += 10.0
        assert (await talk.get(url)).status == 200


ODD_IDS = ["a%20b", "50%25", "%2525", "caf%C3%A9", "a%3Fb%23c", "a%2Cb", "%25C3%25A9"]


@pytest.mark.parametrize("encoded", ODD_IDS)
@pytest.mark.parametrize("kind", ["thirdPartyId", "pcId"])
async def test_ids_are_percent_decoded_once_in_the_path(encoded: str, kind: str) -> None:
    async with talking(decode="after") as talk:
        await talk.apply(rows(f"{encoded},gold", header=f"{kind},tier"))
        prefix = "/rest/v1/profiles/" + ("thirdPartyId/" if kind == "thirdPartyId" else "")
        url = URL(f"{talk.base_url}{prefix}{encoded}?client=demo", encoded=True)
        async with talk.session.get(url) as response:
            assert (await response.json())["visitorId"] == unquote(encoded)


async def test_all_profiles_are_listed_as_lines_of_json() -> None:
    async with talking() as talk:
        await talk.apply(rows("a%20%22b,gold", *(f"u{n},{n}" for n in range(6_000)), header="thirdPartyId,tier"))
        await talk.apply(rows("p1,x", header="pcId,tier"))
        lines = [orjson.loads(line) for line in (await talk.get("/sandbox/profiles")).text.splitlines()]
        assert len(lines) == 6_002
        assert {"id": 'a "b', "kind": "thirdPartyId", "attributes": {"tier": "gold"}} in lines
        assert lines[-1] == {"id": "p1", "kind": "pcId", "attributes": {"tier": "x"}}
