"""Reads environment variables as values of the configuration, with the source of pydantic-settings.

A list or a table is written as JSON; any other value is the text as it stands.
"""

from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from pipeline.core.rows.allowance import Allowance


class NotJsonError(ValueError):
    """A list or table is not written as JSON."""


class Variables:
    """The variables that name keys of a model, as PREFIX__SECTION__KEY."""

    def __init__(self, model: type[BaseModel], prefix: str) -> None:
        # The source only needs the fields of the model; the arguments below replace the rest.
        fields = cast(type[BaseSettings], model)
        self._source = _Source(fields, env_prefix=prefix, env_nested_delimiter="__", env_nested_max_split=1)

    def read(self, name: str, value: str) -> dict[str, Any]:
        """The value of one variable, in the shape of the file. Raises `NotJsonError`."""
        self._source.env_vars = {name.lower(): value}
        try:
            return self._source()
        except (SettingsError, RecursionError) as error:
            raise NotJsonError(name) from error


class _Source(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        # The base class takes every dataclass for a table, but an `Allowance` is written as a text.
        return value if field.annotation is Allowance else super().decode_complex_value(field_name, field, value)
