"""The configuration: bounds, where values come from, messages, and that the documentation tells the truth."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.rows.allowance import Allowance
from pipeline.core.target.hosts import is_loopback
from pipeline.settings.settings import Settings, config_digest, load_settings, schema, show

CONFIG = Path(__file__).parents[2] / "config"
REQUIRED = {"target": {"client_code": "demo"}, "export": {"id_column": "id"}, "state": {"directory": "state"}}
REQUIRED_KEYS = {("target", "client_code"), ("export", "id_column"), ("state", "directory")}


def with_key(section: str, key: str, value: object) -> dict[str, Any]:
    merged: dict[str, Any] = {name: dict(keys) for name, keys in REQUIRED.items()}
    merged.setdefault(section, {})[key] = value
    return merged


def load(section: str = "target", key: str = "client_code", value: object = "demo") -> Settings:
    return load_settings(None, env={}, overrides=with_key(section, key, value))


def refusal(section: str, key: str, value: object) -> str:
    with pytest.raises(FatalError) as caught:
        load(section, key, value)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return str(caught.value)


def write(directory: Path, text: str) -> Path:
    file = directory / "acme.toml"
    file.write_text(text)
    return file


REQUIRED_TOML = '[target]\nclient_code = "acme"\n[export]\nid_column = "id"\n[state]\ndirectory = "state"\n'


class TestBounds:
    @pytest.mark.parametrize(
        ("section", "key", "lowest", "highest"),
        [
            ("target", "calls_per_minute", 1, 100_000),
            ("batch", "max_bytes", 1_024, 49_999_999),
            ("batch", "max_rows", 1, 500_000),
            ("tracker", "held_max_rows", 1, 100_000_000),
            ("tracker", "held_max_bytes", 1_024, 17_179_869_184),
            ("upload", "concurrency", 1, 32),
            ("upload", "attempts", 1, 100),
            ("upload", "min_rate_bytes_s", 1_000, 1_000_000_000),
            ("settle", "status_window", 1, 1_000),
            ("state", "min_free_bytes", 0, 2**50),
        ],
    )
    def test_counts(self, section: str, key: str, lowest: int, highest: int) -> None:
        for value in (lowest, highest):
            assert getattr(getattr(load(section, key, value), section), key) == value
        for value in (lowest - 1, highest + 1):
            text = refusal(section, key, value)
            assert f"[{section}] {key} = {value} (from the command line)" in text
            assert f"must be a whole number from {lowest} to {highest}" in text

    @pytest.mark.parametrize(
        ("section", "key", "highest"),
        [
            ("upload", "backoff_s", 3_600),
            ("upload", "backoff_max_s", 86_400),
            ("upload", "give_up_after_s", 2_592_000),
            ("settle", "poll_first_s", 3_600),
            ("settle", "poll_max_s", 86_400),
            ("settle", "deadline_s", 604_800),
            ("settle", "ambiguous_hold_s", 604_800),
            ("drop", "poll_s", 3_600),
            ("drop", "signal_wait_s", 604_800),
        ],
    )
    def test_durations(self, section: str, key: str, highest: int) -> None:
        for value in (0, -1, highest + 0.5, float("inf"), float("nan")):
            assert f"must be a number above 0, up to {highest}" in refusal(section, key, value)
        longest = {"backoff_s": {"backoff_max_s": 3_600}, "poll_first_s": {"poll_max_s": 3_600}}.get(key, {})
        overrides: dict[str, Any] = {**REQUIRED, section: {key: highest, **longest}}
        assert getattr(getattr(load_settings(None, env={}, overrides=overrides), section), key) == highest

    @pytest.mark.parametrize(
        ("section", "first", "longest", "value"),
        [("upload", "backoff_s", "backoff_max_s", 121), ("settle", "poll_first_s", "poll_max_s", 301)],
    )
    def test_first_wait_is_not_above_the_longest_even_when_that_is_the_default(
        self, section: str, first: str, longest: str, value: float
    ) -> None:
        assert f"[{section}] {longest} = " in (text := refusal(section, first, value))
        assert f"(from the default): must not be less than {first}" in text

    @pytest.mark.parametrize("delimiter", ["||", "~|~", ", "])
    def test_a_delimiter_is_one_character(self, delimiter: str) -> None:
        assert "write the export with one of , ; tab | ^ ~" in refusal("export", "delimiter", delimiter)

    @pytest.mark.parametrize(
        ("section", "key", "values"),
        [
            ("target", "api_version", ["v1", "v2"]),
            ("export", "id_kind", ["thirdPartyId", "pcId"]),
            ("export", "unlisted", ["stop", "ignore", "send"]),
            ("export", "delimiter", ["auto", ",", ";", "\t", "|", "^", "\x01", "~", ":", "\x1f"]),
            ("export", "on_delimiter", ["replace", "encode", "reject"]),
            ("drop", "keep_exports", ["always", "failed", "never"]),
        ],
    )
    def test_choices(self, section: str, key: str, values: list[str]) -> None:
        for value in values:
            assert getattr(getattr(load(section, key, value), section), key) == value
        assert f"must be one of {', '.join(map(json.dumps, values))}" in refusal(section, key, "other")

    @pytest.mark.parametrize(
        ("section", "key", "highest"),
        [
            ("drop", "keep_exports_days", 36_500),
            ("drop", "keep_rejects_days", 36_500),
            ("drop", "keep_reports_days", 36_500),
            ("service", "grace_s", 3_600),
        ],
    )
    def test_durations_that_may_be_none(self, section: str, key: str, highest: int) -> None:
        for value in (0, 0.5, highest):
            assert getattr(getattr(load(section, key, value), section), key) == value
        for value in (-1, highest + 0.5, float("nan")):
            assert f"must be a number from 0 to {highest}" in refusal(section, key, value)

    @pytest.mark.parametrize("suffix", ["ready", ".", "", ".a/b", ".a b", ".tmp", ".Part", ".ready\n", f".{'x' * 33}"])
    def test_what_cannot_end_a_signal(self, suffix: str) -> None:
        assert "cannot end a signal's name" in refusal("drop", "signal_suffixes", [".ready", suffix])

    def test_signals_there_must_be(self) -> None:
        assert "must name one suffix at least" in refusal("drop", "signal_suffixes", [])
        assert load("drop", "signal_suffixes", [".done"]).drop.signal_suffixes == (".done",)

    def test_as_of(self) -> None:
        assert load("drop", "as_of", r"customers_(\d{8})").drop.as_of == r"customers_(\d{8})"
        assert "must be a regular expression, and is not" in refusal("drop", "as_of", "(")
        for pattern in ("customers", "(a)(b)"):
            assert "must have one group" in refusal("drop", "as_of", pattern)

    def test_folders_of_jobs_are_in_the_state_directory_unless_elsewhere(self) -> None:
        assert load("state", "directory", "/s").outcome_directory == Path("/s/jobs")
        assert load("drop", "outcome_directory", "/o").outcome_directory == Path("/o")

    @pytest.mark.parametrize("value", ["a b", "a.b", "a/b", "é", "demo\n", "x" * 64, 5])
    def test_client_code(self, value: object) -> None:
        assert "must be text of 1 to 63 characters out of [A-Za-z0-9_-]" in refusal("target", "client_code", value)

    def test_client_code_with_all_kinds_of_characters(self) -> None:
        assert load("target", "client_code", "Acme_EU-2").target.url == "https://Acme_EU-2.tt.omtrdc.net"

    @pytest.mark.parametrize(("value", "size"), [("auto", "auto"), (1, 1), (20, 20), ("20", 20), (1_000, 1_000)])
    def test_status_window(self, value: object, size: object) -> None:
        assert load("settle", "status_window", value).settle.status_window == size

    def test_the_status_window_is_learned_unless_it_is_set(self) -> None:
        assert load().settle.status_window == "auto"

    @pytest.mark.parametrize("value", ["", "Auto", "ten", 0, -1, 1.5, 20.0, "1001", "99999999", "٢", "²", [20], "1_0"])
    def test_other_status_windows(self, value: object) -> None:
        text = refusal("settle", "status_window", value)
        assert "[settle] status_window = " in text
        assert 'must be a whole number from 1 to 1000, or "auto"' in text

    @pytest.mark.parametrize(("text", "size"), [("auto", "auto"), ("40", 40)])
    def test_status_window_of_the_environment(self, text: str, size: object) -> None:
        env = {"PROFILE_PIPELINE__SETTLE__STATUS_WINDOW": text}
        assert load_settings(None, env=env, overrides=with_key("settle", "max_lost", 1)).settle.status_window == size

    @pytest.mark.parametrize(("text", "size"), [('"auto"', "auto"), ("40", 40)])
    def test_status_window_of_a_file(self, tmp_path: Path, text: str, size: object) -> None:
        file = write(tmp_path, f"{REQUIRED_TOML}[settle]\nstatus_window = {text}\n")
        assert load_settings(file, env={}).settle.status_window == size

    @pytest.mark.parametrize("value", [",", "a,b", "\n", "\r", "\0", "x" * 65])
    def test_replacement(self, value: str) -> None:
        assert "[export] replacement = " in refusal("export", "replacement", value)

    def test_replacement_may_be_empty(self) -> None:
        assert load("export", "replacement", "").export.replacement == ""

    def test_booleans_are_no_numbers(self) -> None:
        assert "no key takes true or false" in refusal("upload", "concurrency", True)

    @pytest.mark.parametrize("value", ["eyJ" + "a" * 100, "Bearer abc", "a\nb", "a\0b"])
    def test_a_token_in_place_of_its_file_is_refused_and_not_shown(self, value: str) -> None:
        text = refusal("target", "token_file", value)
        assert '[target] token_file = "***"' in text
        assert "must be the path of a file" in text
        assert value not in text

    def test_unset_token_file(self) -> None:
        assert load("target", "token_file", "").target.token_file is None

    def test_settings_cannot_be_changed(self) -> None:
        settings = load()
        with pytest.raises(ValidationError, match="frozen"):
            settings.upload.concurrency = 5  # type: ignore[misc]
        with pytest.raises(ValidationError, match="frozen"):
            settings.upload = settings.upload  # type: ignore[misc]


class TestColumns:
    def test_legal_names(self) -> None:
        columns = {"Loyalty tier": "tier", "LTV": "lifetimeValue_2"}
        assert load("export", "columns", columns).export.columns == columns

    @pytest.mark.parametrize(
        "name",
        ["", "1st", "a-b", "a b", "é", "profile.x", "user.x", "mboxX", "x" * 129, "pcId", "thirdPartyId"],
    )
    def test_names_target_would_not_take(self, name: str) -> None:
        text = refusal("export", "columns", {"fine": "fine", "source": name})
        assert f"{name!r} cannot be a parameter name: it " in text

    def test_two_columns_under_one_name(self) -> None:
        text = refusal("export", "columns", {"a": "tier", "b": "tier", "c": "Tier"})
        assert "'a' and 'b' both go to 'tier'" in text
        assert "'c'" not in text

    def test_name_that_is_no_text(self) -> None:
        assert "[export] columns.a = 1 " in refusal("export", "columns", {"a": 1})


class TestHosts:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("", "https://demo.tt.omtrdc.net"),
            ("https://target.example.com", "https://target.example.com"),
            ("https://Target.example.com:8443/", "https://target.example.com:8443"),
            ("http://127.0.0.1:8181", "http://127.0.0.1:8181"),
            ("http://127.8.9.10", "http://127.8.9.10"),
            ("http://localhost:8181", "http://localhost:8181"),
            ("http://[::1]:8181", "http://[::1]:8181"),
        ],
    )
    def test_base_url(self, text: str, url: str) -> None:
        assert load("target", "base_url", text).target.url == url

    @pytest.mark.parametrize(
        "text",
        [
            "http://target.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://128.0.0.1",
            "ftp://127.0.0.1",
            "target.example.com",
            "https://",
            "https://target.example.com/m2",
            "https://target.example.com?",
            "https://target.example.com#x",
            "https://target.example.com:0",
            "https://target.example.com:65536",
            "https://target.example.com:x",
            "https://target .example.com",
            " https://target.example.com",
            "https://target.example.com\n",
            "https://*.example.com",
            "https://[::1",
        ],
    )
    def test_base_url_refused(self, text: str) -> None:
        assert "must be https://HOST or https://HOST:PORT" in refusal("target", "base_url", text)

    @pytest.mark.parametrize(
        "text",
        [
            "https://user:hunter2@target.example.com",
            "https://hunter2@target.example.com",
            "https://target.example.com?token=hunter2",
            "https://user:hun/hunter2@target.example.com",
            ["https://user:hunter2@target.example.com"],
        ],
    )
    def test_credentials_are_refused_and_not_shown(self, text: object) -> None:
        message = refusal("target", "base_url", text)
        assert "[target] base_url = " in message
        assert "hunter2" not in message

    @pytest.mark.parametrize(
        "entry",
        [
            "mboxedge*.tt.omtrdc.net",
            "*.tt.omtrdc.net",
            "mboxedge*.tt.omtrdc.net:443",
            "edge-*-1.example.com",
            "edge",
            "edge:8181",
            "127.0.0.1:8181",
            "[::1]:8181",
        ],
    )
    def test_status_hosts(self, entry: str) -> None:
        assert load("target", "status_hosts", [entry]).target.status_hosts == (entry,)

    @pytest.mark.parametrize(
        "entry",
        [
            "*",
            "*.com",
            "mboxedge*.net",
            "*:443",
            "*.*",
            "a.*.com",
            "a.b*.example.com",
            "*.0.0.1",
            "",
            "https://edge.example.com",
            "edge.example.com/m2",
            "u@edge.example.com",
            "edge.example.com:",
            "edge.example.com:0",
            "edge.example.com:99999",
            "edge..example.com",
            "edge.example.com?",
            ".example.com",
            "a,b",
        ],
    )
    def test_status_hosts_refused(self, entry: str) -> None:
        text = refusal("target", "status_hosts", ["edge.example.com", entry])
        assert "[target] status_hosts[1] = " in text
        assert "must be HOST or HOST:PORT" in text

    def test_loopback(self) -> None:
        assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.255.255.255", "::1"]))
        assert not any(map(is_loopback, ["", "example.com", "10.0.0.1", "::2", "localhost.example.com", "127.1"]))


class TestAllowance:
    @pytest.mark.parametrize(
        ("text", "allowance"),
        [
            ("1%", Allowance(percent=1.0)),
            ("0.1%", Allowance(percent=0.1)),
            ("100%", Allowance(percent=100.0)),
            ("0.000001%", Allowance(percent=0.000001)),
            ("0", Allowance(count=0)),
            (250, Allowance(count=250)),
        ],
    )
    def test_parse_and_back(self, text: str | int, allowance: Allowance) -> None:
        assert Allowance.parse(text) == allowance
        assert str(allowance) == str(text)

    @pytest.mark.parametrize("text", ["", "%", "101%", "-1", -1, "1.5", 1.5, "1 %", "1%\n", "many", True, None, "²"])
    def test_refused(self, text: object) -> None:
        assert "must be a percentage of the rows" in refusal("export", "max_rejects", text) or text is True
        with pytest.raises(ValueError, match="percentage"):
            Allowance.parse(text)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("percent", "count"), [(None, None), (1.0, 1), (-1.0, None), (100.5, None), (None, -1)])
    def test_exactly_one_of_the_two_and_in_bounds(self, percent: float | None, count: int | None) -> None:
        with pytest.raises(ValueError, match="percentage"):
            Allowance(percent=percent, count=count)

    @pytest.mark.parametrize(
        ("text", "bad", "total", "final", "exceeded"),
        [
            ("1%", 9_999, 9_999, False, False),
            ("1%", 9_999, 9_999, True, True),
            ("1%", 100, 10_000, False, False),
            ("1%", 101, 10_000, False, True),
            ("1%", 1, 100, True, False),
            ("1%", 2, 100, True, True),
            ("0%", 0, 0, True, False),
            ("0%", 1, 1, True, True),
            ("100%", 20_000, 20_000, False, False),
            ("0.7%", 7_000, 1_000_000, False, False),
            ("0.7%", 7_001, 1_000_000, False, True),
            ("2.3%", 276, 12_000, False, False),
            ("100", 100, 100, False, False),
            ("100", 101, 101, False, True),
            ("0", 1, 1, False, True),
        ],
    )
    def test_is_exceeded(self, text: str, bad: int, total: int, final: bool, exceeded: bool) -> None:
        assert Allowance.parse(text).is_exceeded(bad, total, final=final) is exceeded


class TestSources:
    def test_command_line_over_environment_over_file_over_default(self, tmp_path: Path) -> None:
        file = write(tmp_path, f"{REQUIRED_TOML}[upload]\nconcurrency = 2\nattempts = 2\nbackoff_s = 2\n")
        env = {"PROFILE_PIPELINE__UPLOAD__ATTEMPTS": "3", "PROFILE_PIPELINE__UPLOAD__BACKOFF_S": "3.5"}
        upload = load_settings(file, env=env, overrides={"upload": {"backoff_s": 4.5}}).upload
        assert (upload.concurrency, upload.attempts, upload.backoff_s) == (2, 3, 4.5)
        assert upload.backoff_max_s == 120.0

    def test_everything_from_the_environment(self) -> None:
        env = {
            "PATH": "/bin",
            "PROFILE_PIPELINE_OTHER": "not ours",
            "PROFILE_PIPELINE__TARGET__CLIENT_CODE": "acme",
            "PROFILE_PIPELINE__TARGET__STATUS_HOSTS": '["edge.example.com"]',
            "PROFILE_PIPELINE__EXPORT__ID_COLUMN": "id",
            "PROFILE_PIPELINE__EXPORT__COLUMNS": '{"Loyalty tier": "tier"}',
            "PROFILE_PIPELINE__EXPORT__MAX_REJECTS": "2%",
            "PROFILE_PIPELINE__STATE__DIRECTORY": "state",
        }
        settings = load_settings(None, env=env)
        assert settings.target.client_code == "acme"
        assert settings.target.status_hosts == ("edge.example.com",)
        assert settings.export.columns == {"Loyalty tier": "tier"}
        assert settings.export.max_rejects == Allowance(percent=2.0)
        assert settings.state.directory == Path("state")

    def test_the_environment_of_the_process_is_the_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(tmp_path, REQUIRED_TOML)
        monkeypatch.setenv("PROFILE_PIPELINE__TARGET__CLIENT_CODE", "other")
        assert load_settings(file).target.client_code == "other"
        assert load_settings(file, env={}).target.client_code == "acme"

    def test_models_read_no_environment_by_themselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROFILE_PIPELINE__UPLOAD__CONCURRENCY", "9")
        assert Settings.model_validate(REQUIRED).upload.concurrency == 4

    def test_a_table_replaces_the_one_below_it_whole(self, tmp_path: Path) -> None:
        file = write(tmp_path, f'{REQUIRED_TOML}[export.columns]\na = "a"\n')
        env = {"PROFILE_PIPELINE__EXPORT__COLUMNS": '{"b": "b"}'}
        assert load_settings(file, env=env).export.columns == {"b": "b"}
        assert load_settings(file, env={}).export.columns == {"a": "a"}

    def test_missing_file(self, tmp_path: Path) -> None:
        for file in (tmp_path / "none.toml", tmp_path):
            with pytest.raises(FatalError, match=f"there is no configuration file {file}") as caught:
                load_settings(file, env={})
            assert caught.value.exit_code is ExitCode.CONFIGURATION

    def test_unreadable_file(self, tmp_path: Path) -> None:
        with pytest.raises(FatalError, match="cannot be read: ") as caught:
            load_settings(tmp_path / ("x" * 300), env={})
        assert caught.value.exit_code is ExitCode.CONFIGURATION

    @pytest.mark.parametrize("content", [b"[target\n", b"a = 1\na = 2\n", b'[target]\nclient_code = "\xff"\n'])
    def test_invalid_toml(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "bad.toml"
        file.write_bytes(content)
        with pytest.raises(FatalError, match=r"bad\.toml is not valid TOML: .*") as caught:
            load_settings(file, env={})
        assert caught.value.exit_code is ExitCode.CONFIGURATION


class TestMemory:
    def of(self, **sections: dict[str, Any]) -> Settings:
        merged = {section: {**REQUIRED.get(section, {}), **keys} for section, keys in sections.items()}
        return load_settings(None, env={}, overrides={**REQUIRED, **merged})

    def refused(self, **sections: dict[str, Any]) -> str:
        with pytest.raises(FatalError) as caught:
            self.of(**sections)
        assert caught.value.exit_code is ExitCode.CONFIGURATION
        return str(caught.value)

    def test_nothing_is_remembered_unless_somebody_asks(self) -> None:
        memory = self.of().memory
        assert (memory.remember, memory.send, memory.refresh_days, memory.keep_days) == ("nothing", "all", 10.0, 400)

    @pytest.mark.parametrize("remember", ["digests", "values"])
    def test_changes_need_something_remembered(self, remember: str) -> None:
        assert self.of(memory={"remember": remember, "send": "changes"}).memory.send == "changes"
        told = self.refused(memory={"send": "changes"})
        assert '[memory] send = "changes" (from the command line): needs remember = "digests" or "values"' in told

    def test_bounds(self) -> None:
        assert self.of(memory={"refresh_days": 0.5, "keep_days": 1}).memory.refresh_days == 0.5
        assert "must not be less than refresh_days" in self.refused(memory={"refresh_days": 8, "keep_days": 7})
        for key, value in (("refresh_days", -1), ("refresh_days", 10_001), ("keep_days", 0), ("keep_days", 100_001)):
            assert f"[memory] {key} = {value}" in self.refused(memory={key: value})
        assert 'did you mean "digests"?' in self.refused(memory={"remember": "digest"})

    @pytest.mark.parametrize(
        ("export", "told"),
        [
            ({"kind": "delta"}, 'it needs kind = "snapshot"'),
            ({"gone": {"tier": ""}}, "'tier' has no text"),
            ({"gone": {"tier": "a,b"}}, "the text for 'tier' must hold no comma"),
            ({"gone": {"my tier": "none"}}, "'my tier' cannot be a parameter name"),
            ({"gone": {"ltv": "none"}}, "[memory]: [export] gone has 'ltv', and no column is sent as that parameter"),
            ({"max_gone": "ten"}, "[export] max_gone"),
        ],
    )
    def test_what_is_sent_for_ids_that_are_gone(self, export: dict[str, Any], told: str) -> None:
        right = {"kind": "snapshot", "gone": {"tier": "none"}, "columns": {"Tier": "tier"}}
        assert self.of(export=right, memory={"remember": "values"}).export.gone == {"tier": "none"}
        assert told in self.refused(export={**right, **export}, memory={"remember": "values"})

    @pytest.mark.parametrize("remember", ["nothing", "digests"])
    def test_gone_ids_need_values(self, remember: str) -> None:
        export = {"kind": "snapshot", "gone": {"tier": "none"}, "unlisted": "send"}
        assert self.of(export=export, memory={"remember": "values"}).export.max_gone == Allowance(percent=10.0)
        told = self.refused(export=export, memory={"remember": remember})
        assert '[memory]: [export] gone needs remember = "values"' in told

    def test_gone_may_be_a_parameter_of_mapping(self) -> None:
        export = {"kind": "snapshot", "gone": {"source": "none"}}
        mapping = {"constants": {"source": "crm"}}
        assert self.of(export=export, mapping=mapping, memory={"remember": "values"}).export.gone
        assert "no column is sent" in self.refused(export=export, memory={"remember": "values"})


class TestMessages:
    def lines(self, file: Path | None, env: dict[str, str], overrides: dict[str, Any] | None = None) -> list[str]:
        with pytest.raises(FatalError) as caught:
            load_settings(file, env=env, overrides=overrides)
        assert caught.value.exit_code is ExitCode.CONFIGURATION
        title, *lines = str(caught.value).splitlines()
        assert title == "the configuration cannot be used:"
        return [line.removeprefix("  ") for line in lines]

    def test_unknown_key_of_a_section(self, tmp_path: Path) -> None:
        file = write(tmp_path, f'{REQUIRED_TOML}[upload]\nconcurency = 1\n[settle]\nzzz = "hunter2"\n')
        first, second = self.lines(file, {})
        wrong = f"[upload] concurency (from {file}): unknown key; did you mean concurrency?"  # codespell:ignore
        assert first == wrong
        assert second.startswith(f"[settle] zzz (from {file}): unknown key; there are poll_first_s, poll_max_s,")

    def test_unknown_key_that_another_section_has(self, tmp_path: Path) -> None:
        file = write(tmp_path, f"{REQUIRED_TOML}[batch]\nconcurrency = 1\n")
        assert self.lines(file, {}) == [
            f"[batch] concurrency (from {file}): unknown key; did you mean [upload] concurrency?"
        ]

    def test_unknown_section_and_key_outside_of_sections(self, tmp_path: Path) -> None:
        file = write(tmp_path, f'concurrency = 1\nzzz = "hunter2"\n{REQUIRED_TOML}[setle]\nmax_lost = 1\n')
        first, second, third = sorted(self.lines(file, {}))
        assert first == f"concurrency (from {file}): unknown section; did you mean [upload] concurrency?"
        assert third.startswith(f"zzz (from {file}): unknown section; there are [target], [export],")
        assert second == f"setle (from {file}): unknown section; did you mean [settle]?"

    def test_unknown_key_within_a_key(self, tmp_path: Path) -> None:
        file = write(tmp_path, f"{REQUIRED_TOML}[upload.concurrency]\nx = 1\n")
        (line,) = self.lines(file, {})
        assert line.startswith(f'[upload] concurrency = {{"x": 1}} (from {file}): must be a whole number')

    def test_section_that_is_no_table(self, tmp_path: Path) -> None:
        file = write(tmp_path, f"upload = 3\n{REQUIRED_TOML}")
        assert self.lines(file, {}) == [f"[upload] (from {file}): must be a table of keys"]

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("PROFILE_PIPELINE__UPLOAD__CONCURENCY", "did you mean PROFILE_PIPELINE__UPLOAD__CONCURRENCY?"),
            ("profile_pipeline__upload__concurrency", "did you mean PROFILE_PIPELINE__UPLOAD__CONCURRENCY?"),
            ("PROFILE_PIPELINE__EXPORT__COLUMNS__TIER", "did you mean PROFILE_PIPELINE__EXPORT__COLUMNS?"),
            ("PROFILE_PIPELINE__TARGET__TIMEOUT", "names are PROFILE_PIPELINE__SECTION__KEY"),
            (f"PROFILE_PIPELINE__{'9' * 40}", "names are PROFILE_PIPELINE__SECTION__KEY"),
        ],
    )
    def test_unknown_variable_without_its_value(self, name: str, hint: str) -> None:
        assert self.lines(None, {name: "hunter2"}, dict(REQUIRED)) == [
            f"{name} (from the environment): names no key; {hint}"
        ]

    def test_impossible_value_of_a_variable(self) -> None:
        name = "PROFILE_PIPELINE__TARGET__CALLS_PER_MINUTE"
        assert self.lines(None, {name: "fast"}, dict(REQUIRED)) == [
            f'[target] calls_per_minute = "fast" (from {name}): must be a whole number from 1 to 100000'
        ]

    @pytest.mark.parametrize("key", ["TARGET__STATUS_HOSTS", "EXPORT__COLUMNS"])
    def test_variable_that_is_no_json(self, key: str) -> None:
        name = f"PROFILE_PIPELINE__{key}"
        (line,) = self.lines(None, {name: "[tier"}, dict(REQUIRED))
        assert line.endswith(f'(from {name}): must be JSON, such as ["a", "b"] or {{"a": "b"}}')

    def test_all_problems_at_once(self, tmp_path: Path) -> None:
        file = write(tmp_path, f"{REQUIRED_TOML}[upload]\nconcurrency = 0\n[batch]\nmax_rows = 0\nsize = 1\n")
        assert len(self.lines(file, {"PROFILE_PIPELINE__X": "1"})) == 4

    def test_required_keys(self) -> None:
        found = {line.partition(":")[0] for line in self.lines(None, {})}
        assert found == {f"[{section}] {key}" for section, key in REQUIRED_KEYS}

    def test_required_key_names_its_variable(self) -> None:
        name = "PROFILE_PIPELINE__TARGET__CLIENT_CODE"
        (line,) = self.lines(None, {name: ""}, {**REQUIRED, "target": {}})
        assert line.startswith(f"[target] client_code (from {name}): is required, also as {name}. ")

    def test_long_values_are_cut(self) -> None:
        text = refusal("export", "replacement", "x" * 10_000)
        assert len(text) < 400


class TestWhatIsShown:
    def settings(self) -> Settings:
        overrides = {
            **REQUIRED,
            "target": {"client_code": "demo", "token_file": "secrets/token"},
            "export": {"id_column": 'a"b\\\té😀\x7f', "delimiter": "\t", "columns": {'Loyalty "tier"': "tier"}},
            "settle": {"max_lost": 5, "poll_first_s": 0.00001},
        }
        return load_settings(None, env={}, overrides=overrides)

    def test_show_can_be_read_back(self, tmp_path: Path) -> None:
        settings = self.settings()
        assert 'token_file = "secrets/token"' in show(settings)
        assert load_settings(write(tmp_path, show(settings)), env={}) == settings
        assert load_settings(write(tmp_path, show(load())), env={}) == load()

    def test_settings_survive_json(self) -> None:
        settings = self.settings()
        assert Settings.model_validate_json(settings.model_dump_json()) == settings

    def test_digest(self) -> None:
        assert re.fullmatch("[0-9a-f]{64}", config_digest(load()))
        assert config_digest(load("upload", "concurrency", 4)) == config_digest(load())
        assert config_digest(load("upload", "concurrency", 5)) != config_digest(load())

    def test_schema_describes_every_key(self) -> None:
        for name, section in schema()["$defs"].items():
            # All other keys of [mapping] are names of columns.
            columns = {"$ref": "#/$defs/ColumnMapping"} if name == "MappingSettings" else False
            assert section["additionalProperties"] == columns
            for key, content in section["properties"].items():
                assert len(content["description"]) > 30, key
        assert schema()["$defs"]["ExportSettings"]["properties"]["max_rejects"]["default"] == "1%"
        assert schema()["$defs"]["ExportSettings"]["properties"]["max_gone"]["default"] == "10%"
        assert schema()["$defs"]["SettleSettings"]["properties"]["max_lost"]["default"] == "0.1%"


class TestConfigurationFiles:
    def defaults(self) -> dict[str, dict[str, Any]]:
        """All keys in code with their defaults as a file would have them, an empty text for required ones."""
        values: dict[str, dict[str, Any]] = load().model_dump(mode="json", exclude={"windows"})
        for section, content in load():
            if section == "windows":
                continue
            required = [key for key, field in type(content).model_fields.items() if field.is_required()]
            values[section].update(dict.fromkeys(required, ""))
        values["target"].update(token_file="", token_expires="", ca_file="")
        values["drop"].update(directory="", outcome_directory="")
        values["mapping"].update(salt_file="")
        values["web"].update(token_file="")
        values["notify"].update(webhook_file="", secret_file="")
        return values

    def test_default_toml_has_every_key_with_its_default_and_no_other(self) -> None:
        assert tomllib.loads((CONFIG / "default.toml").read_text()) == self.defaults()

    def test_default_toml_explains_every_key(self) -> None:
        lines = (CONFIG / "default.toml").read_text().splitlines()
        keys = [(number, line) for number, line in enumerate(lines) if re.match(r"\w+ = ", line)]
        assert len(keys) == sum(map(len, self.defaults().values()))
        for number, line in keys:
            assert lines[number - 1].startswith("# "), line
            assert len(lines[number - 1]) > 3, line

    def test_default_toml_lacks_only_the_required_keys(self) -> None:
        file = CONFIG / "default.toml"
        with pytest.raises(FatalError) as caught:
            load_settings(file, env={})
        named = [line.partition(" (from ")[0].strip() for line in str(caught.value).splitlines()[1:]]
        assert sorted(named) == sorted(f"[{section}] {key}" for section, key in REQUIRED_KEYS)
        assert load_settings(file, env={}, overrides=REQUIRED) == load()

    def test_sandbox_toml(self) -> None:
        settings = load_settings(CONFIG / "sandbox.toml", env={})
        assert settings.target.url == "http://127.0.0.1:8181"
        assert settings.target.client_code == "demo"
        assert settings.state.directory == Path("sandbox-state")
        assert settings.state.min_free_bytes < 100_000_000
        assert settings.settle.poll_max_s <= 10
