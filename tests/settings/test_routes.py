"""Routes in a configuration: what each falls back to, where ledgers lie, what must not be, and that it is shown."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.settings.routes import load_configuration
from pipeline.settings.settings import load_settings
from pipeline.settings.shown import configuration_schema, show_configuration
from pipeline.settings.tenants import Configuration

ROOT = Path(__file__).parents[2]
COLUMNS = 'columns = { a = "a1", b = "b1" }'
TOP = f'[target]\nclient_code = "acme"\ncalls_per_minute = 30\n[export]\nid_column = "id"\n{COLUMNS}\n'
STATE = '[state]\ndirectory = "/state"\n'
EU = '[[routes]]\nname = "eu"\ndrop.directory = "/drop/eu"\n'
US = '[[routes]]\nname = "us"\ndrop.directory = "/drop/us"\n'


def read(directory: Path, text: str, **options: Any) -> Configuration:
    file = directory / "acme.toml"
    file.write_text(text)
    return load_configuration(file, env=options.pop("env", {}), **options)


def problems(directory: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(FatalError) as caught:
        read(directory, text, **options)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    title, *lines = str(caught.value).replace(f" (from {directory / 'acme.toml'})", "").splitlines()
    assert title == "the configuration cannot be used:"
    return [line.removeprefix("  ") for line in lines]


def places(configuration: Configuration) -> dict[str, tuple[list[str], str, str]]:
    """By client code: its routes, where its ledger is, and where the folders of its jobs are."""
    return {
        tenant.client_code: (list(tenant.routes), str(tenant.directory), str(tenant.settings.outcome_directory))
        for tenant in configuration.tenants
    }


class TestWhatARouteFallsBackTo:
    def test_key_by_key(self, tmp_path: Path) -> None:
        own = 'export.columns = { c = "c1" }\nbatch.max_rows = 7\ntarget.client_code = "acmeeu"\n'
        configuration = read(tmp_path, TOP + "[batch]\nmax_bytes = 5000\n" + STATE + EU + own)
        eu, default = configuration.routes["eu"], configuration.routes["default"]
        assert (eu.target.client_code, eu.target.calls_per_minute) == ("acmeeu", 30)
        assert (eu.export.id_column, eu.export.columns) == ("id", {"c": "c1"})
        assert (eu.batch.max_bytes, eu.batch.max_rows) == (5_000, 7)
        assert (default.export.columns, default.drop.directory) == ({"a": "a1", "b": "b1"}, None)
        assert eu.drop.directory == Path("/drop/eu")

    def test_never_to_the_drop_directory_of_the_top_level(self, tmp_path: Path) -> None:
        text = TOP + '[drop]\ndirectory = "/drop/all"\npoll_s = 1\n' + STATE + EU
        configuration = read(tmp_path, text)
        assert configuration.tenants[0].drops == {"default": Path("/drop/all"), "eu": Path("/drop/eu")}
        assert problems(tmp_path, text.replace('drop.directory = "/drop/eu"', "")) == [
            "[[routes]] eu: [drop] directory: is required: each route has a drop directory of its own"
        ]

    def test_the_environment_is_below_a_route_and_the_command_line_above(self, tmp_path: Path) -> None:
        env = {"PROFILE_PIPELINE__BATCH__MAX_ROWS": "5", "PROFILE_PIPELINE__BATCH__MAX_BYTES": "5000"}
        eu = read(tmp_path, TOP + STATE + EU + "batch.max_rows = 7\n", env=env).routes["eu"]
        assert (eu.batch.max_rows, eu.batch.max_bytes) == (7, 5_000)
        overrides = {"batch": {"max_rows": 9}}
        eu = read(tmp_path, TOP + STATE + EU + "batch.max_rows = 7\n", env=env, overrides=overrides).routes["eu"]
        assert eu.batch.max_rows == 9

    def test_without_routes_it_is_what_load_settings_reads(self, tmp_path: Path) -> None:
        configuration = read(tmp_path, TOP + STATE)
        assert configuration == Configuration.of_one(load_settings(tmp_path / "acme.toml", env={}))
        assert places(configuration) == {"acme": (["default"], "/state", "/state/jobs")}
        assert read(tmp_path, "routes = []\n" + TOP + STATE) == configuration

    def test_a_top_level_that_is_only_there_to_be_laid_under_routes(self, tmp_path: Path) -> None:
        text = STATE + "[target]\ncalls_per_minute = 30\n"
        for name, text_of in (("eu", EU), ("us", US)):
            text += text_of + f'target.client_code = "acme{name}"\nexport.id_column = "id"\n'
        configuration = read(tmp_path, text)
        assert set(configuration.routes) == {"eu", "us"}
        assert configuration.tenant_of("us")[0].client_code == "acmeus"
        unknown: list[tuple[str | None, str]] = [
            (None, "name a --route; there are eu, us"),
            ("uk", "no route 'uk'; there are eu, us"),
        ]
        for missing, told in unknown:
            with pytest.raises(FatalError, match=told) as caught:
                configuration.tenant_of(missing)
            assert caught.value.exit_code is ExitCode.CONFIGURATION


class TestWhereLedgersLie:
    def test_that_of_the_top_levels_client_code_where_it_was_before_there_were_routes(self, tmp_path: Path) -> None:
        other = 'target.client_code = "other"\n'
        for text in (EU + US + other, US + other + EU):
            found = places(read(tmp_path, TOP + STATE + text))
            assert found == {
                "acme": (["default", "eu"], "/state", "/state/jobs"),
                "other": (["us"], "/state/clients/other", "/state/clients/other/jobs"),
            }

    def test_in_clients_where_the_top_level_has_none_however_many_routes_there_are(self, tmp_path: Path) -> None:
        text = '[export]\nid_column = "id"\n' + STATE + EU + 'target.client_code = "acme"\n'
        assert places(read(tmp_path, text)) == {"acme": (["eu"], "/state/clients/acme", "/state/clients/acme/jobs")}
        found = places(read(tmp_path, text + US + 'target.client_code = "other"\n'))
        assert found["acme"] == (["eu"], "/state/clients/acme", "/state/clients/acme/jobs")

    def test_folders_of_jobs_of_two_client_codes_are_never_in_one_directory(self, tmp_path: Path) -> None:
        text = TOP + '[drop]\noutcome_directory = "/out"\n' + STATE + EU + US + 'target.client_code = "other"\n'
        found = {code: place[2] for code, place in places(read(tmp_path, text)).items()}
        assert found == {"acme": "/out", "other": "/out/clients/other"}
        found = {
            code: place[2] for code, place in places(read(tmp_path, text + 'drop.outcome_directory = "/us"\n')).items()
        }
        assert found == {"acme": "/out", "other": "/us"}
        assert problems(tmp_path, text + 'drop.outcome_directory = "/x/../out"\n') == [
            "the file's top level and [[routes]] us: [drop] outcome_directory: /out is that of two client codes: give "
            "each its own"
        ]


class TestWhatMustNotBe:
    @pytest.mark.parametrize(
        ("routes", "told"),
        [
            ('[[routes]]\ndrop.directory = "/d"\n', "[[routes]] number 1: name: is required: a name of 1 to 63"),
            ('[[routes]]\nname = "a/b"\ndrop.directory = "/d"\n', "[[routes]] a/b: name: is required: a name of 1 to"),
            ('[[routes]]\nname = 5\ndrop.directory = "/d"\n', "[[routes]] number 1: name: is required: a name of 1 to"),
            (
                '[[routes]]\nname = "default"\ndrop.directory = "/d"\n',
                "[[routes]] default: name: is that of the file's",
            ),
            (EU + "batch.max_row = 1\n", "[[routes]] eu: [batch] max_row: unknown key; did you mean max_rows?"),
            (EU + "bach.max_rows = 1\n", "[[routes]] eu: bach: unknown section; did you mean [batch]?"),
            (EU + "batch = 1\n", "[[routes]] eu: [batch]: must be a table of keys"),
            (EU + "batch.max_rows = 0\n", "[[routes]] eu: [batch] max_rows = 0: must be a whole number from 1 to"),
            (EU + 'state.directory = "/x"\n', "[[routes]] eu: [state]: is for the whole process: set it at the file's"),
            (EU + "web.port = 0\n", "[[routes]] eu: [web]: is for the whole process: set it at the file's"),
            (EU + "service.grace_s = 1\n", "[[routes]] eu: [service]: is for the whole process: set it at the file's"),
            (EU + 'target.client_code = "a b"\n', '[[routes]] eu: [target] client_code = "a b": must be text of 1 to'),
            (EU + 'target.client_code = ""\n', "[[routes]] eu: [target] client_code: is required"),
            (EU + "upload.backoff_s = 121\n", "[[routes]] eu: [upload] backoff_max_s = 120.0 (from the default): must"),
            (EU + US.replace("/us", "/eu"), "[[routes]] eu and [[routes]] us: [drop] directory: /drop/eu and /drop/eu"),
            (
                EU + US.replace("/us", "/eu/us"),
                "[[routes]] eu and [[routes]] us: [drop] directory: /drop/eu and /drop/e",
            ),
            (
                EU + US.replace("/us", "/us/.."),
                "[[routes]] eu and [[routes]] us: [drop] directory: /drop/eu and /drop:",
            ),
        ],
    )
    def test_and_what_is_told(self, tmp_path: Path, routes: str, told: str) -> None:
        (line,) = problems(tmp_path, TOP + STATE + routes)
        assert line.startswith(told)

    def test_two_of_a_name(self, tmp_path: Path) -> None:
        told = "[[routes]] eu: name: is that of another route too: each needs its own"
        assert problems(tmp_path, TOP + STATE + EU + EU.replace("/eu", "/us")) == [told, told]

    def test_no_tables(self, tmp_path: Path) -> None:
        assert problems(tmp_path, "routes = 5\n" + TOP + STATE) == ["[[routes]]: must be tables, each with a name"]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("target.calls_per_minute", "20"),
            ("target.base_url", '"https://example.com"'),
            ("target.api_version", '"v1"'),
            ("target.token_file", '"/run/token"'),
            ("settle.ambiguous_hold_s", "20"),
            ("settle.status_window", "10"),
            ("upload.concurrency", "2"),
            ("tracker.held_max_rows", "2"),
            ("drop.outcome_directory", '"/x"'),
            ("drop.poll_s", "1"),
        ],
    )
    def test_what_is_the_client_codes_differs_between_its_routes(self, tmp_path: Path, key: str, value: str) -> None:
        section, name = key.split(".")
        text = TOP + STATE + US + f"{key} = {value}\n" + EU + 'target.client_code = "other"\n'
        (line,) = problems(tmp_path, text)
        assert line.startswith(
            f"the file's top level and [[routes]] us: [{section}] {name}: both go to client code 'acme'"
        )
        # Different ones may.
        assert read(tmp_path, TOP + STATE + US + f'{key} = {value}\ntarget.client_code = "other"\n')

    @pytest.mark.parametrize(
        "own",
        ['export.id_column = "x"', "batch.max_rows = 2", 'settle.max_lost = "5%"', 'drop.keep_exports = "always"'],
    )
    def test_what_is_a_routes_own_may(self, tmp_path: Path, own: str) -> None:
        (tenant,) = read(tmp_path, TOP + STATE + EU + US + own).tenants
        assert list(tenant.routes) == ["default", "eu", "us"]

    def test_all_problems_at_once_and_each_once(self, tmp_path: Path) -> None:
        text = TOP + "[batch]\nmax_rows = 0\nsize = 1\n" + STATE + EU + "batch.max_bytes = 0\n" + US + "x.y = 1\n"
        lines = problems(tmp_path, text)
        assert [line.partition(" =")[0].partition(": unknown")[0] for line in lines] == [
            "[batch] max_rows",
            "[batch] size",
            "[[routes]] eu: [batch] max_bytes",
            "[[routes]] us: x",
        ]

    def test_what_the_top_level_may_lack_only_if_nothing_is_never_sent_for_it(self, tmp_path: Path) -> None:
        text = STATE + EU + 'target.client_code = "a"\nexport.id_column = "id"\n'
        assert read(tmp_path, text)
        lines = problems(tmp_path, '[drop]\ndirectory = "/drop/all"\n' + text)
        assert [line.partition(":")[0] for line in lines] == ["[target] client_code", "[export] id_column"]

    def test_a_token_is_not_shown(self, tmp_path: Path) -> None:
        (line,) = problems(tmp_path, TOP + STATE + EU + 'target.token_file = "Bearer hunter2"\n')
        assert "hunter2" not in line


class TestWhatIsDocumented:
    def test_the_example_of_default_toml(self, tmp_path: Path) -> None:
        defaults, mark, example = (ROOT / "config" / "default.toml").read_text().partition("# [[routes]]\n")
        lines = [line.removeprefix("# ") for line in (mark + example).splitlines()]
        configuration = read(tmp_path, "\n".join([defaults, *lines]), overrides={"state": {"directory": "/state"}})
        assert places(configuration)["acmeeu"][:2] == (["crm-eu"], "/state/clients/acmeeu")
        # Not even the empty texts of the top level are in the way.
        assert list(configuration.routes) == ["crm-eu"]

    def test_the_example_of_its_page(self, tmp_path: Path) -> None:
        (text,) = [
            block
            for block in re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "routes.md").read_text(), re.DOTALL)
            if "[[routes]]" in block
        ]
        configuration = read(tmp_path, text)
        assert [tenant.client_code for tenant in configuration.tenants] == ["acmeeu", "acmeus"]


class TestWhatIsShown:
    @pytest.mark.parametrize(
        "text",
        [
            TOP + STATE,
            TOP + STATE + EU + US + 'target.client_code = "other"\ntarget.token_file = "/run/t"\n',
            TOP + '[drop]\noutcome_directory = "/out"\ndirectory = "/d"\n' + STATE + US + 'target.client_code = "b"\n',
            STATE + EU + 'target.client_code = "a"\nexport.id_column = "id"\n',
            '[target]\nclient_code = "acme"\n' + STATE + EU + 'export.id_column = "id"\n',
        ],
    )
    def test_it_can_be_read_back(self, tmp_path: Path, text: str) -> None:
        configuration = read(tmp_path, text)
        assert read(tmp_path, show_configuration(configuration)) == configuration

    def test_schema(self) -> None:
        told = configuration_schema()
        route = told["properties"]["routes"]["items"]
        assert set(route["properties"]) == set(told["properties"]) - {"routes", "state", "service", "web"} | {"name"}
        assert "required" not in told["$defs"]["TargetSettings"], "a route may leave it to the top level"
        assert told["$defs"]["StateSettings"]["required"] == ["directory"]
        assert told["anyOf"][0]["properties"] == {
            "target": {"required": ["client_code"]},
            "export": {"required": ["id_column"]},
        }
