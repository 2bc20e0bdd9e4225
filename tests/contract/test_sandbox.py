"""The wire contract, statement by statement: what is answered, and what refuses a batch."""

import ast
import asyncio
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession

from pipeline import sandbox
from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox import serving
from tests.contract.talk import FORM, V1, V2, WALL_S, counts, rows, talking

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
            headers={"Content-Type": FORM},
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
                headers={"Content-Type": FORM},
            ) as response:
                assert response.status == expected


async def test_an_announced_size_is_refused_before_a_byte_of_the_body_came() -> None:
    async with talking(max_bytes=1_000) as talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", talk.port)
        head = f"POST {V2} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(5.0):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()


async def test_half_a_million_rows_are_taken_and_one_more_is_refused() -> None:
    async with talking() as talk:
        lines = [f"u{n},a" for n in range(500_000)]
        answer = await talk.accept(rows(*lines, header="thirdPartyId,tier") + "\n")
        assert counts(await talk.status(answer))[0] == 500_000
        one_more = await talk.post(rows(*lines, "one,more", header="thirdPartyId,tier"))
        assert one_more.refusal == "Number of rows exceeds the limit of 500000"
        assert talk.mistakes() == [M.TOO_MANY_ROWS]


# --- independence -----------------------------------------------------------------------------------


def test_the_sandbox_shares_no_code_with_what_it_checks() -> None:
    files = sorted(Path(sandbox.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                allowed = name.startswith("pipeline.sandbox") or top in {*sys.stdlib_module_names, "aiohttp", "orjson"}
                assert allowed, f"{file.name} imports {name}"


async def test_what_may_take_long_runs_off_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    def monotonic() -> float:
        threads.append(threading.current_thread())
        return 0.0

    async with serving(sandbox.Sandbox(monotonic=monotonic)) as run, ClientSession() as session:
        url = run.base_url + V2
        async with session.post(url, data=rows("u1,gold").encode(), headers={"Content-Type": FORM}) as response:
            assert "batchStatus" in await response.text()
        assert threads[-1] is not threading.main_thread()
        for path in (
            "/m2/demo/profile/batchStatus?batchId=x",
            "/rest/v1/profiles/thirdPartyId/u1?client=demo",
            "/sandbox/",
            "/sandbox/state",
            "/sandbox/profiles",
        ):
            threads.clear()
            async with session.get(run.base_url + path) as response:
                await response.read()
            assert threads[-1] is not threading.main_thread(), path
