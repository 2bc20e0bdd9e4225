"""The section [web]: where the service may listen, and where it needs a token for that."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.settings.routes import load_configuration
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.settings import load_settings

REQUIRED = {"target": {"client_code": "demo"}, "export": {"id_column": "id"}, "state": {"directory": "state"}}


def load(env: dict[str, str] | None = None, **web: Any) -> WebSettings:
    return load_settings(None, env=env or {}, overrides={**REQUIRED, **({"web": web} if web else {})}).web


def refusals(**web: Any) -> list[str]:
    with pytest.raises(FatalError) as caught:
        load(**web)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_this_machine_alone_may_look_unless_it_is_said_otherwise() -> None:
    assert load() == WebSettings(host="127.0.0.1", port=8080, token_file=None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert load(host=host).host == host.lower()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "crm.example.com", "127.0.0.1.example.com"])
def test_elsewhere_a_token_is_required(host: str) -> None:
    (line,) = refusals(host=host)
    assert line.startswith('[web] token_file = "" (from the default): is required where host is not this machine')
    assert f"as {host}: pages and JSON want it" in line
    assert load(host=host, token_file="/run/web") == WebSettings(host=host, token_file=Path("/run/web"))


def test_what_does_not_listen_needs_no_token() -> None:
    assert load(host="0.0.0.0", port=0).port == 0


def test_the_problem_is_told_once_however_many_routes_there_are(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    routes = "".join(f'[[routes]]\nname = "{name}"\ndrop.directory = "/{name}"\n' for name in ("eu", "us"))
    file.write_text(
        '[target]\nclient_code = "demo"\n[export]\nid_column = "id"\n[state]\ndirectory = "s"\n'
        f'[web]\nhost = "0.0.0.0"\n{routes}'
    )
    with pytest.raises(FatalError) as caught:
        load_configuration(file, env={})
    assert str(caught.value).count("token_file") == 1


@pytest.mark.parametrize("host", ["", "127.0.0.1:80", "[::1]", "http://a", "a b", "a/b", "*", "::g", "x" * 64, 5])
def test_what_is_no_host_is_the_only_problem(host: object) -> None:
    (line,) = refusals(host=host)
    assert line.startswith("[web] host = ")


@pytest.mark.parametrize("port", [-1, 65_536, "http", 1.5, True])
def test_what_is_no_port_is_the_only_problem(port: object) -> None:
    (line,) = refusals(host="0.0.0.0", port=port)
    assert line.startswith("[web] port = ")


@pytest.mark.parametrize("value", ["Bearer hunter2", "hunter2\nx"])
def test_a_token_in_place_of_its_file_is_not_shown(value: str) -> None:
    (line,) = refusals(token_file=value)
    assert line.startswith('[web] token_file = "***"')
    assert "hunter2" not in line


def test_variables_of_the_environment() -> None:
    env = {"PROFILE_PIPELINE__WEB__HOST": "0.0.0.0", "PROFILE_PIPELINE__WEB__TOKEN_FILE": "/run/web"}
    assert load(env | {"PROFILE_PIPELINE__WEB__PORT": "9000"}) == WebSettings(
        host="0.0.0.0", port=9000, token_file=Path("/run/web")
    )
