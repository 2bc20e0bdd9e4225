"""Whatever a server says is at worst an unconfirmed batch, and nothing of it is seen as it was said.

Each answer here holds what the server got: ids and cells of the body, the header with the token. None of it is found on
stdout, stderr or a terminal, in a report, on a page or in the state directory, but in the files for the owner's eyes.
"""

import base64
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Sandbox
from tests.cli.test_output import on_terminal
from tests.core.target.test_status_url import HOSTILE
from tests.tools.dropping import Drop, events
from tests.tools.faults.rawtarget import Answer, Call, RawTarget, http, raw_target, xml
from tests.tools.support import Bench, Ended, run_program, until

#: In each id and cell, in the token, and in what servers say of their own.
ID, CELL, TOKEN, WORD = "IDKANARIE", "ZELLKANARIE", "TOKENKANARIE", "WORTKANARIE"
SECRETS = (ID, CELL, TOKEN, WORD, base64.b64encode(TOKEN.encode()).decode()[:12])
#: Files for the owner's eyes, which hold rows.
_OF_ROWS = ("rejects.jsonl", "rejects.csv", "failed.jsonl", "header.txt", "ledger.db", "ledger.db-wal", "ledger.db-shm")
ROWS = [f"{ID}{n},{CELL}{n},1" for n in range(160)]


def refused(call: Call, inner: str) -> bytes:
    return xml(f"<success>false</success>{inner}")


def coded(call: Call) -> bytes:
    return base64.b64encode(call.line)


def accepted_at(url: str) -> Answer:
    """A batch is accepted, and its status is to be asked for there."""
    return lambda _: xml(f"<success>true</success><batchStatus>{url}</batchStatus>")


#: What a server may answer to a POST, so that nobody knows what became of the batch.
POSTS: dict[str, Answer] = {
    "no HTTP at all": lambda call: call.all,
    "a line that is no status": lambda call: call.line + b"\r\n\r\n",
    "a status that is none": lambda call: b"HTTP/1.1 " + call.line + b"\r\n\r\n",
    "a version that is none": lambda call: b"HTTP/" + call.line + b" 200 OK\r\n\r\n",
    "a status of four digits": lambda call: http(call.all, status=b"2000 " + call.line),
    "a phrase": lambda call: http(call.all, status=b"500 " + call.line),
    "a phrase of the token in base64": lambda call: http(b"", status=b"500 " + coded(call)),
    "the name of a header": lambda call: http(b"", call.line + b": x"),
    "a header without a colon": lambda call: http(b"", call.line.replace(b":", b"")),
    "a header that is continued": lambda call: http(b"", b"X-A: 1\r\n " + call.line),
    "a header with NUL": lambda call: http(b"", b"X-A: " + call.line + b"\0"),
    "a header that is too long": lambda call: http(b"", b"X-A: " + call.line * 500),
    "too many headers": lambda call: http(b"", *(b"X-%d: " % n + call.line for n in range(500))),
    "a length": lambda call: b"HTTP/1.1 200 OK\r\nContent-Length: " + call.line + b"\r\n\r\n",
    "two lengths": lambda call: http(call.all, b"Content-Length: 7"),
    "a size of a chunk": lambda call: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + call.line + b"\r\n",
    "an extension of a chunk": lambda call: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + call.line + b"\r\nabc\r\n"
    ),
    "a trailer": lambda call: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + call.line + b"\r\n\r\n",
    "a transfer encoding": lambda call: http(call.all, b"Transfer-Encoding: " + call.line),
    "a content encoding": lambda call: http(call.all, b"Content-Encoding: " + call.line),
    "gzip that is none": lambda call: http(call.all, b"Content-Encoding: gzip"),
    "deflate that breaks off": lambda call: http(zlib.compress(call.all)[:-9], b"Content-Encoding: deflate"),
    "a type": lambda call: http(call.all, b"Content-Type: text/xml; charset=" + call.line),
    "a cookie": lambda call: http(b"", b"Set-Cookie: " + call.line),
    "the name of the server": lambda call: http(b"", b"Server: " + call.line, status=b"502 Bad Gateway"),
    "a page": lambda call: http(b"<html><body>" + call.all + b"</body></html>"),
    "an error of the server": lambda call: http(call.all, status=b"500 Internal Server Error"),
    "JSON": lambda call: http(orjson.dumps({"message": call.text})),
    "half an answer": lambda call: http(b"<response><success>false</success><message>" + call.text.encode()),
    "an answer that breaks off": lambda call: http(call.all)[:-9],
    "another success": lambda call: xml(f"<success>{call.text}</success>"),
    "a success without a URL": lambda call: xml(f"<success>true</success><message>{call.text}</message>"),
    "an attribute": lambda call: http(b'<r a="' + call.text.replace('"', "").encode() + b'"><success/></r>'),
    "a tag": lambda call: http(b"<" + call.line + b"/>"),
    "a document type": lambda call: http(b'<!DOCTYPE r [<!ENTITY a "' + call.line + b'">]><r>&a;</r>'),
    "another protocol": lambda call: http(call.all, b"Upgrade: " + call.line, status=b"101 Switching " + call.line),
    "the end before any byte": lambda _: b"",
    # Refusals.
    "a message": lambda call: refused(call, f"<message>{call.text}</message>"),
    "a message of escapes": lambda call: refused(
        call, "<message>" + "".join(f"&#{ord(character)};" for character in call.line.decode()) + "</message>"
    ),
    "a message in CDATA": lambda call: refused(call, f"<message><![CDATA[{call.line.decode()}]]></message>"),
    "a message about the client": lambda call: refused(call, f"<message>client {call.text}</message>"),
    "a known message and more": lambda call: refused(call, f"<message>Invalid client code {call.text}</message>"),
    "a message of another batch": lambda _: refused(Call(b"", b""), f"<message>{ID}1 {CELL}1 {TOKEN}</message>"),
    "a message of nobody's": lambda _: refused(Call(b"", b""), f"<message>\u009b2J{WORD}</message>"),
    "a phrase of a refusal": lambda call: http(call.all, status=b"400 " + call.line),
    "a phrase of a refusal with ESC": lambda call: http(call.all, status=b"422 \x1b[2J" + WORD.encode()),
    "a location": lambda call: http(b"", b"Location: http://127.0.0.1:1/" + coded(call), status=b"302 " + call.line),
    "a location of text": lambda call: http(b"", b"Location: " + call.line, status=b"307 Go"),
    # Acceptances that lead nowhere.
    "a URL": lambda call: xml(f"<success>true</success><batchStatus>{call.text}</batchStatus>"),
    "a URL on a host": accepted_at(f"http://{ID}1.{TOKEN}.example/{CELL}"),
    "a URL with C1": accepted_at(f"http://a/{WORD}\u009b2J"),
}


#: What a server may answer to a question for a status.
STATUSES: dict[str, Answer] = {
    "no HTTP at all": lambda call: call.all,
    "a status that is none": lambda call: b"HTTP/1.1 " + call.line + b"\r\n\r\n",
    "the name of a header": lambda call: http(b"", call.line + b": x"),
    "a size of a chunk": lambda call: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + call.line + b"\r\n",
    "a location": lambda call: http(b"", b"Location: " + call.line, status=b"302 " + call.line),
    "a page": lambda call: http(b"<html><body>" + call.all + b"</body></html>"),
    "another word": lambda call: xml(f"<status>{call.text}</status>"),
    "no such batch": lambda call: http(call.all, status=b"404 " + call.line),
    "a count": lambda call: xml(f"<status>complete</status><batchSize>{call.text}</batchSize>"),
    "lost": lambda call: xml(f"<success>false</success><message>{call.text} {ID} {CELL} {WORD}</message>"),
    "failed, of other batches": lambda call: xml(
        f"<status>complete</status><profile><id>{ID}1</id><status>failed</status></profile>"
        f"<profile><id>{call.text}</id><status>failed</status></profile>"
    ),
    "pending": lambda call: xml(
        f"<status>complete</status><profile><id>{call.text}</id><status>{call.text}</status></profile>"
    ),
    "gone": lambda call: http(call.all, status=b"410 " + call.line),
}


def bench_at(directory: Path, target: RawTarget) -> Bench:
    (directory / "token").write_text(TOKEN)
    return Bench(directory, target.base_url, Sandbox())


#: Everything is tried until it arrives, so that each answer is met.
PATIENT: dict[str, Any] = {
    "batch": {"max_rows": 2},
    "upload": {"attempts": 100, "backoff_s": 0.01, "backoff_max_s": 0.01, "concurrency": 1},
    "settle": {"poll_first_s": 0.01, "poll_max_s": 0.05, "ambiguous_hold_s": 0.1, "deadline_s": 60.0},
    "export": {"max_rejects": "100%"},
}


def sections(at: Bench, **more: Any) -> dict[str, Any]:
    target = {"token_file": str(at.directory / "token"), "calls_per_minute": 6_000}
    return {**PATIENT, "target": target, **more}


async def assert_discreet(at: Bench, *ends: Ended | str) -> None:
    """Nothing of what was said is anywhere but where it may be, and the token is nowhere."""
    config = at.directory / "config.toml"
    looked = [
        await run_program("status", "--config", config, "--all"),
        await run_program("status", "--config", config, "--all", "--json"),
        await run_program("health", "--config", config),
    ]
    said = "\n".join(each if isinstance(each, str) else each.said for each in (*ends, *looked))
    places = {"what was said": said.encode()}
    for file in at.state.rglob("*"):
        is_of_rows = file.name in (*_OF_ROWS, "answers.jsonl") or file.parent.name in ("spool", "drop")
        if file.is_file() and not is_of_rows:
            places[file.name] = file.read_bytes()
    assert any(name == "report.html" for name in places)
    for place, text in places.items():
        for secret in SECRETS:
            assert secret.lower().encode() not in text.lower(), (place, secret)
        # Hashes may have any two bytes.
        is_text = place == "what was said" or Path(place).suffix in (".json", ".jsonl", ".html", ".csv", ".txt")
        assert not (is_text and any(byte in text for byte in (b"\x1b[2J", "\u009b".encode()))), place
    for file in at.state.rglob("*"):
        if file.is_file() and file.parent.name != "drop":
            assert TOKEN.encode() not in file.read_bytes(), file
            assert file.stat().st_mode & 0o077 == 0, file


def plan(target: RawTarget) -> None:
    """All answers, hostile ones between those of a Target that works: it does not refuse everything."""
    target.posts = [target.accepted]
    for answer in POSTS.values():
        target.posts += [answer, target.accepted]
    target.statuses = [*STATUSES.values()] * 2


async def test_a_load(tmp_path: Path) -> None:
    async with raw_target() as target:
        plan(target)
        at = bench_at(tmp_path, target)
        done = await at.load(*ROWS, **sections(at))
        assert (target.posts, target.statuses) == ([], []), "each was met"
        assert done.code in (0, 76), done.said
        rows = done.report["rows"]
        assert rows["confirmed"] > 0 and rows["unconfirmed"] > 0
        assert not rows["unsent"]
        await assert_discreet(at, done)
        (answers,) = at.state.glob("jobs/*/answers.jsonl")
        lines = [orjson.loads(line) for line in answers.read_bytes().splitlines()]
        assert {line["call"] for line in lines} == {"POST", "GET"}
        kept = answers.read_text()
        assert ID in kept and WORD in kept, "that is what it is for"
        assert "Authorization: Bearer ***" in kept
        told = [event["outcome"] for event in events(done, "attempt_failed")]
        assert any("a message about the client that is not known (" in each for each in told)
        assert any("HTTP 400 Bad Request" in each for each in told)


async def test_a_service(tmp_path: Path) -> None:
    async with raw_target() as target:
        plan(target)
        drop = Drop(bench_at(tmp_path, target))
        for name, first in (("a", 0), ("b", 80)):
            drop.put(f"{name}.csv", *ROWS[first : first + 80], signal_as=f"{name}.csv.ready")
        done = await drop.drain(**sections(drop.at))
        assert done.code in (0, 76), done.said
        assert len(drop.reports()) == 2
        await assert_discreet(drop.at, done)


async def test_on_a_terminal(tmp_path: Path) -> None:
    async with raw_target() as target:
        plan(target)
        at = bench_at(tmp_path, target)
        config = at.config(**sections(at))
        said = await on_terminal("-v", "load", at.export(*ROWS), "--config", config, NO_COLOR="1")
        assert "confirmed" in said
        await assert_discreet(at, said)


#: Answers at which a run ends, each as the first of all.
ENDS: dict[str, tuple[Answer, set[int]]] = {
    "the token refused": (lambda call: http(call.all, b"X-A: " + call.line, status=b"401 " + call.line), {77}),
    "forbidden": (lambda call: http(call.all, b"WWW-Authenticate: " + call.line, status=b"403 " + call.line), {77}),
    "too many calls": (lambda call: http(call.all, b"Retry-After: " + call.line, status=b"429 " + call.line), {75}),
    "too many calls, by a date": (
        lambda call: http(call.all, b"Date: " + call.line, b"Retry-After: " + call.line, status=b"503 " + call.line),
        {75},
    ),
    "another address": (lambda call: http(call.all, b"Location: " + call.line, status=b"301 " + call.line), {77}),
    "a page": (lambda call: http(b"<html>" + call.all + b"</html>"), {77}),
    "the client": (lambda call: refused(call, f"<message>client {call.text}</message>"), {77}),
    "everything": (lambda call: refused(call, f"<message>{call.text}</message>"), {77}),
    "a phrase": (lambda call: http(call.all, status=b"413 " + call.line), {77}),
}


@pytest.mark.parametrize(("answer", "codes"), ENDS.values(), ids=ENDS)
async def test_answers_at_which_a_run_ends(tmp_path: Path, answer: Answer, codes: set[int]) -> None:
    async with raw_target() as target:
        target.posts = [answer] * 50
        at = bench_at(tmp_path, target)
        command = ("load", at.export(*ROWS[:40]), "--config", at.config(**sections(at)), "--json", "--wait", "1.5")
        done = await run_program(*command)
        assert done.code in codes, done.said
        target.posts = []
        later = await run_program(*command[:-1], "20")
        assert later.code == (0 if codes == {77} else later.code), later.said
        await assert_discreet(at, done, later) if later.code == 0 else None


#: Some of the URLs that were met by an error of a library, at each start again.
CRASHING = [
    "DEL in the path",
    "a label of 70 characters",
    "a backslash in the host",
    "a Hebrew letter and a digit in the host",
    "CR and LF in the path",
    "an IPv6 address that is none",
    "port 99999",
    "a URL one character too long",
]


def crashing(name: str, target: RawTarget) -> str:
    """Such a URL, on the own host if it is not about the host."""
    port = target.base_url.rpartition(":")[2]
    return (
        HOSTILE[name]
        .replace("mboxedge45.tt.omtrdc.net", f"127.0.0.1:{port}")
        .replace("\x7f", "&#127;")
        .replace("aaaa", "a" * 5)
    )


def accepted_in(at: Bench) -> int:
    """The number of batches of which the ledger knows that they were accepted."""
    with closing(sqlite3.connect(f"file:{at.state / 'ledger.db'}?mode=ro", uri=True)) as ledger:
        found: int = ledger.execute("SELECT count(*) FROM facts WHERE kind = 'Taken'").fetchone()[0]
        return found


async def test_no_status_url_ends_the_service(tmp_path: Path) -> None:
    """Nor the next start, when the URL is in the ledger."""
    async with raw_target() as target:
        drop = Drop(bench_at(tmp_path, target))
        target.posts = [accepted_at(crashing(name, target)) for name in CRASHING]
        drop.put("a.csv", *ROWS[: len(CRASHING)], signal_as="a.csv.ready")
        patient = {**sections(drop.at), "batch": {"max_rows": 1}}
        late = {**PATIENT["settle"], "poll_first_s": 60.0, "poll_max_s": 60.0}
        async with drop.serving(**{**patient, "settle": late}) as process:
            await until(lambda: accepted_in(drop.at) == len(CRASHING))
            process.kill()
        drop.put("b.csv", f"{ID},{CELL},1", signal_as="b.csv.ready")
        done = await drop.drain(**patient)
        assert done.code == 76, done.said
        first, second = drop.reports()
        assert first["rows"]["unconfirmed"] == len(CRASHING)
        assert all("the status URL " in batch["why"] for batch in first["batches"])
        assert second["rows"]["confirmed"] == 1, "the others go on"
        assert not [call for call in target.calls if call.head.startswith(b"GET") and b"?batchId=" not in call.head]
        await assert_discreet(drop.at, done)
