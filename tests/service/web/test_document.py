"""The commands of docs/web.md, run as they stand there: what it says is served is served, and no more."""

import re
import shutil
import stat
from pathlib import Path

import pytest

from pipeline.service.web.access import MAX_WEB_TOKEN_BYTES
from pipeline.service.web.connections import IDLE_S, MOST_CONNECTIONS
from pipeline.service.web.events import MOST_LISTENERS
from pipeline.service.web.listener import AGAIN_S
from pipeline.settings.sections.web import WebSettings
from tests.service.web.ledgers import enter_jobs
from tests.service.web.site import of_settings, site
from tests.tools.support import run_in_shell

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "web.md").read_text()
CURL, MAKE_TOKEN = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def needs(command: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(command) is None, reason=f"{command} is not installed")


@needs("curl")
@pytest.mark.parametrize("has_token", [False, True])
async def test_the_commands(tmp_path: Path, has_token: bool) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    enter_jobs(tmp_path / "state", 7)
    web = WebSettings(host="0.0.0.0", token_file=token) if has_token else WebSettings()
    async with site(of_settings(tmp_path), web=web) as at:
        for command in CURL.splitlines():
            done = await run_in_shell(f"URL={at.url} TOKEN_FILE={token}; {command} -w '%{{http_code}}'")
            is_refused = has_token and "TOKEN_FILE" not in command and not re.search("healthz|readyz|metrics", command)
            assert done.out.endswith("401" if is_refused else "200"), (command, done)
            # `--max-time` ends what has no end.
            assert done.code == (28 if "--max-time" in command and not is_refused else 0), (command, done)


@needs("openssl")
async def test_the_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    done = await run_in_shell(f"TOKEN_FILE={file}; {MAKE_TOKEN}")
    assert (done.code, done.said) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with site(of_settings(tmp_path), web=WebSettings(host="0.0.0.0", token_file=file)) as at:
        assert len(file.read_text().strip()) == 32
        assert (await at.get("/status", Authorization=f"Bearer {file.read_text().strip()}")).status == 200


async def test_every_address_is_in_the_table(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        paths = (await at.get("/openapi.json")).told["paths"]
    wants = {path: "yes" if len(each["get"]["security"]) > 1 else "no" for path, each in paths.items()}
    rows = re.findall(r"^\| `(/[^`]*)` \|.*\| (yes|no) \|$", TEXT, re.MULTILINE)
    assert {path.replace("JOB", "{job}"): token for path, token in rows} == wants


@pytest.mark.parametrize(
    "words",
    [
        f"up to {MAX_WEB_TOKEN_BYTES:,} bytes",
        f"At most {MOST_CONNECTIONS} connections are open",
        f"nothing for {IDLE_S:.0f} seconds",
        f"At most {MOST_LISTENERS} pages listen",
        f"again every {AGAIN_S:.0f} seconds",
    ],
)
def test_its_numbers(words: str) -> None:
    assert words in TEXT
