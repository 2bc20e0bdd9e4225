"""The sections [notify] and [expect]: what may be called, what is a secret, and when an export is expected."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.expectations.days import Expectation
from pipeline.core.target.hosts import checked_webhook, masked_webhook
from pipeline.settings.routes import load_configuration
from pipeline.settings.settings import Settings, load_settings, show
from pipeline.settings.shown import show_configuration

REQUIRED = {"target": {"client_code": "demo"}, "export": {"id_column": "id"}, "state": {"directory": "state"}}
HOOK = "https://hooks.example.com/services/s3cret?token=s3cret"


def load(**sections: Any) -> Settings:
    return load_settings(None, env={}, overrides={**REQUIRED, **sections})


def refusals(**sections: Any) -> list[str]:
    with pytest.raises(FatalError) as caught:
        load(**sections)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert "s3cret" not in str(caught.value)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            *(HOOK, "https://hooks.example.com", "https://10.0.0.7:8443/x", "https://[::1]/x", "http://localhost:80/x"),
            *("http://127.0.0.1:8000/x", "http://[::1]:8000/x?y=z"),
        ],
    )
    def test_what_may_be_called(self, url: str) -> None:
        assert checked_webhook(url) == url
        notify = load(notify={"webhook": url, "heartbeat_url": url}).notify
        assert (notify.webhook, notify.heartbeat_url) == (url, url)

    @pytest.mark.parametrize(
        "url",
        [
            *("http://hooks.example.com/s3cret", "http://10.0.0.7/s3cret", "ftp://a.example/s3cret", "s3cret"),
            *(
                "https://u:s3cret@a.example/",
                "https://a.example/s3cret#x",
                "https://a.example/s3 cret",
                "https:///s3cret",
            ),
            *("https://a.example:99999/s3cret", "https://a.example:0/s3cret", "https://a.example/s3cret\n"),
            *("https://\u00fc.example/s3cret", f"https://a.example/s3cret{'x' * 2_000}", "https://a_b..c/s3cret"),
        ],
    )
    @pytest.mark.parametrize("key", ["webhook", "heartbeat_url"])
    def test_what_may_not_is_not_shown(self, url: str, key: str) -> None:
        (line,) = refusals(notify={key: url})
        assert line.startswith(f'[notify] {key} = "***"')
        assert "must be https://HOST/PATH" in line

    @pytest.mark.parametrize("key", ["webhook_file", "secret_file"])
    def test_a_url_in_place_of_its_file_is_not_shown(self, key: str) -> None:
        (line,) = refusals(notify={key: HOOK})
        assert "must be the path of a file, not what is in it" in line

    def test_one_place_for_it(self) -> None:
        (line,) = refusals(notify={"webhook": HOOK, "webhook_file": "/run/hook"})
        assert line == "[notify]: webhook and webhook_file are both set: name the URL in one of them"


class TestMasked:
    @pytest.mark.parametrize(
        ("url", "masked"),
        [
            (HOOK, "https://hooks.example.com/***"),
            ("https://hooks.example.com:8443/?s3cret", "https://hooks.example.com:8443/***"),
            ("https://hooks.example.com/", "https://hooks.example.com/"),
        ],
    )
    def test_what_is_shown_of_a_url(self, url: str, masked: str) -> None:
        assert masked_webhook(url) == masked

    def test_it_can_be_read_back(self, tmp_path: Path) -> None:
        settings = load(notify={"webhook": HOOK, "heartbeat_url": HOOK, "secret_file": "/run/s"})
        assert "s3cret" not in show(settings) + repr(settings)
        file = tmp_path / "config.toml"
        file.write_text(show(settings))
        assert load_settings(file, env={}).notify.webhook == "https://hooks.example.com/***"

    def test_of_each_route(self, tmp_path: Path) -> None:
        file = tmp_path / "config.toml"
        routes = "".join(
            f'[[routes]]\nname = "{name}"\ndrop.directory = "/{name}"\nnotify.webhook = "{HOOK}"\n'
            for name in ("a", "b")
        )
        file.write_text(f'[target]\nclient_code = "d"\n[export]\nid_column = "id"\n[state]\ndirectory = "s"\n{routes}')
        shown = show_configuration(load_configuration(file, env={}))
        assert "s3cret" not in shown
        assert shown.count('notify.webhook = "https://hooks.example.com/***"') == 2


class TestRoutes:
    def test_each_tells_others_and_expects_at_its_own_time(self, tmp_path: Path) -> None:
        file = tmp_path / "config.toml"
        file.write_text(
            '[target]\nclient_code = "d"\n[export]\nid_column = "id"\n[state]\ndirectory = "s"\n'
            f'[notify]\nwebhook = "{HOOK}"\n[expect]\nby = "05:00"\n'
            '[[routes]]\nname = "eu"\ndrop.directory = "/eu"\nexpect.by = "06:00"\nnotify.events = ["done"]\n'
        )
        (tenant,) = load_configuration(file, env={}).tenants
        assert tenant.routes["eu"].expect.by == "06:00"
        assert (tenant.routes["eu"].notify.webhook, tenant.routes["eu"].notify.events) == (HOOK, ("done",))
        assert tenant.routes["default"].expect.by == "05:00"


class TestEvents:
    def test_all_but_done(self) -> None:
        assert "done" not in load().notify.events
        assert len(load().notify.events) == 6

    @pytest.mark.parametrize("events", [[], ["done", "done"], ["over"], "done", [1], True])
    def test_what_is_no_list_of_them(self, events: object) -> None:
        (line,) = refusals(notify={"events": events})
        assert line.startswith("[notify] events")

    def test_a_form(self) -> None:
        (line,) = refusals(notify={"format": "txt"})
        assert 'did you mean "text"?' in line


class TestExpect:
    def test_nothing_unless_it_is_said(self) -> None:
        assert load().expect.expectation is None

    def test_days_and_time(self) -> None:
        expect = load(expect={"by": "05:30", "time_zone": "Europe/Berlin", "days": ["fri", "mon"]}).expect
        assert expect.expectation == Expectation(frozenset([0, 4]), 330, ZoneInfo("Europe/Berlin"))
        assert expect.words == "05:30 Europe/Berlin mon,fri"

    @pytest.mark.parametrize(
        ("keys", "told"),
        [
            ({"by": "24:00"}, 'by = "24:00" (from the command line): must be a time from "00:00" to "23:59"'),
            ({"by": "5"}, 'must be a time from "00:00" to "23:59"'),
            ({"time_zone": "Europe/Berln"}, "did you mean Europe/Berlin?"),
            ({"days": ["monday"]}, "must be a list of days, each once, out of mon, tue"),
            ({"days": []}, "must be a list of days, each once, out of mon, tue"),
            ({"at": "05:00"}, "unknown key"),
        ],
    )
    def test_what_it_may_not_be(self, keys: dict[str, Any], told: str) -> None:
        (line,) = refusals(expect=keys)
        assert told in line

    def test_variables_of_the_environment(self) -> None:
        env = {"PROFILE_PIPELINE__EXPECT__DAYS": '["mon"]', "PROFILE_PIPELINE__NOTIFY__WEBHOOK": HOOK}
        settings = load_settings(None, env=env, overrides=REQUIRED)
        assert (settings.expect.days, settings.notify.webhook) == (("mon",), HOOK)
