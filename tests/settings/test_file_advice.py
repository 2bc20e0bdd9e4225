"""Advice about files that are no configuration: what was meant, what it may be, and lines to paste."""

from pathlib import Path

import pytest

from pipeline.core.errors import ConfigurationError
from pipeline.settings.settings import load_settings
from tests.tools.support import run_program


def refused(file: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, env={})
    return str(caught.value)


class TestMissing:
    def test_a_typo_in_its_name(self, tmp_path: Path) -> None:
        for name in ("acme.toml", "other.toml", "amce.csv"):
            (tmp_path / name).touch()
        assert refused(tmp_path / "amce.toml").endswith(f". Did you mean {tmp_path / 'acme.toml'}?")

    def test_another_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "acme.toml").touch()
        assert f"Did you mean {tmp_path / 'acme.toml'}?" in refused(tmp_path / "acme.tml")

    def test_nothing_like_it(self, tmp_path: Path) -> None:
        (tmp_path / "acme.toml").touch()
        (tmp_path / "sandbox.toml").touch()
        assert "Did you mean" not in refused(tmp_path / "zzz")

    def test_a_directory(self, tmp_path: Path) -> None:
        assert "it is a directory: name a file in it with --config" in refused(tmp_path)

    def test_no_directory(self, tmp_path: Path) -> None:
        assert f"there is no directory {tmp_path / 'none'}" in refused(tmp_path / "none" / "a.toml")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("customers.csv", "id,tier\nMARK,gold\n", "It looks like an export: --config names the configuration"),
        ("CUSTOMERS.CSV", "id,tier\nMARK,gold\n", "It looks like an export"),
        ("customers.jsonl", '{"id": "MARK"}\n', "It looks like an export"),
        ("acme.yaml", "target:\n  client_code: MARK\n", "It looks like YAML: a configuration is TOML"),
        ("acme.json", '{"target": "MARK"}', "It looks like JSON: a configuration is TOML"),
        ("acme.toml", "[target\n", "is not valid TOML: "),
    ],
)
def test_no_toml(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    text = refused(tmp_path / name)
    assert told in text
    assert "MARK" not in text


class TestPaste:
    @pytest.mark.parametrize("content", ["", '[target]\napi_version = "v2"\n', "[export]\n[state]\n"])
    async def test_the_lines_make_a_configuration(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "acme.toml"
        file.write_text(content)
        done = await run_program("config", "show", "--config", file)
        assert done.code == 78
        assert done.err.count("is required") == 3
        _, _, example = done.err.partition("  For example:\n")
        assert 'client_code = "acme"' in example
        if not content:
            file.write_text(example)
            assert (await run_program("config", "show", "--config", file)).code == 0

    async def test_a_section_that_is_there_is_not_opened_twice(self, tmp_path: Path) -> None:
        file = tmp_path / "acme.toml"
        file.write_text('[target]\napi_version = "v2"\n')
        example = (await run_program("config", "show", "--config", file)).err.partition("For example:\n")[2]
        assert "[target]   # is there already: put the lines below it" in example
        assert "    [export]\n" in example

    def test_nothing_where_nothing_is_missing(self, tmp_path: Path) -> None:
        file = tmp_path / "acme.toml"
        file.write_text(
            '[target]\nclient_code = "a"\n[export]\nid_column = "id"\nunlisted = "ignor"\n[state]\ndirectory = "s"\n'
        )
        with pytest.raises(ConfigurationError, match='did you mean "ignore"') as caught:
            load_settings(file, env={})
        assert caught.value.example == ""
