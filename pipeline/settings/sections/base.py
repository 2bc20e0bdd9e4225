"""The base of all sections of a configuration, and the kinds of values that several of them have."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from pipeline.core.rows.allowance import ALLOWANCE_PATTERN, Allowance

#: Seconds of a day and of a week: upper bounds of durations, in case of a wrong unit.
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


class Section(BaseModel):
    """The base of all sections: it is frozen, refuses unknown keys, and checks defaults too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: object, info: ValidationInfo) -> object:
        field = info.field_name and cls.model_fields.get(info.field_name)
        if isinstance(value, bool) and not (field and field.annotation is bool):
            raise ValueError("no key takes true or false")  # which would else count as 1 and 0
        return value


def _path(value: object) -> object:
    """A path as given, or None for an empty one.

    Refuses a text that cannot name a file, such as a token put where its file belongs: paths are shown, tokens are not.
    """
    text = str(value)
    if "\0" in text or "\n" in text or text.startswith("Bearer ") or (len(text) > 100 and "/" not in text):
        raise ValueError("must be the path of a file or directory, not what is in it")
    return value or None


#: The path of a file or directory.
FilePath = Annotated[Path, BeforeValidator(_path)]
#: The same, or None for an empty text.
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]


def _allowance(value: Any) -> Allowance:
    return value if isinstance(value, Allowance) else Allowance.parse(value)


#: A number of rows, or a percentage of them.
AllowanceText = Annotated[
    Allowance,
    PlainValidator(_allowance),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^({ALLOWANCE_PATTERN})$"}]}),
]

#: The same, or None for an empty text.
OptionalAllowanceText = Annotated[
    Allowance | None,
    PlainValidator(lambda value: None if value in ("", None) else _allowance(value)),
    PlainSerializer(lambda value: "" if value is None else str(value), return_type=str),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^({ALLOWANCE_PATTERN})?$"}]}),
]


def not_below(first: str) -> AfterValidator:
    """A check that a number is at least the value of the key `first`, which stands above it."""

    def check(longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get(first, 0):
            raise ValueError(f"must not be less than {first}")
        return longest

    return AfterValidator(check)
