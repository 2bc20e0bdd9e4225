"""The section [guard]: all off by default, per route, and what a wrong value is told."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.expectations.guard import Limits
from pipeline.core.rows.allowance import Allowance
from pipeline.settings.routes import load_configuration
from pipeline.settings.sections.guard import GuardSettings
from pipeline.settings.settings import load_settings, show
from tests.tools.support import write_config

REQUIRED: dict[str, Any] = {
    "target": {"client_code": "acme"},
    "export": {"id_column": "id"},
    "state": {"directory": "/state"},
}


def guard(**keys: object) -> GuardSettings:
    return load_settings(None, env={}, overrides={**REQUIRED, "guard": keys}).guard


def test_it_is_off_unless_somebody_sets_a_limit() -> None:
    assert not guard().is_on
    assert guard().limits == guard(max_rows_change="", min_rows=0).limits == Limits()
    assert guard(min_rows=1).is_on
    on = guard(max_rows_change="30%", max_fill_drop="12.5%", max_rejects_change=7)
    assert on.limits == Limits(0, Allowance(percent=30), Allowance(percent=12.5), Allowance(count=7))
    assert on.is_on


@pytest.mark.parametrize("key", ["max_rows_change", "max_fill_drop", "max_rejects_change"])
def test_what_a_wrong_value_is_told(key: str) -> None:
    for value in ("101%", "some", -1, "30 %"):
        with pytest.raises(FatalError, match=rf"\[guard\] {key} = .*must be a percentage of the rows") as caught:
            guard(**{key: value})
        assert caught.value.exit_code is ExitCode.CONFIGURATION
    with pytest.raises(FatalError, match=r"\[guard\] min_rows"):
        guard(min_rows=-1)


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    settings = load_settings(None, env={}, overrides={**REQUIRED, "guard": {"max_rows_change": "30%"}})
    (tmp_path / "shown.toml").write_text(show(settings))
    assert load_settings(tmp_path / "shown.toml", env={}) == settings
    assert 'max_fill_drop = ""' in show(settings)


def test_each_route_may_have_limits_of_its_own(tmp_path: Path) -> None:
    routes = [
        {"name": "eu", "drop": {"directory": str(tmp_path / "eu")}, "guard": {"min_rows": 5}},
        {"name": "us", "drop": {"directory": str(tmp_path / "us")}},
    ]
    file = write_config(tmp_path / "config.toml", {**REQUIRED, "guard": {"max_fill_drop": "9%"}, "routes": routes})
    (tenant,) = load_configuration(file, env={}).tenants
    assert tenant.of("eu").guard.limits == Limits(5, max_fill_drop=Allowance(percent=9))
    assert tenant.of("us").guard.limits == Limits(max_fill_drop=Allowance(percent=9))
