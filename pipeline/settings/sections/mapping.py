"""The section [mapping]: what is done to cells before they are sent, by source column; and which rows are left out.

Every key but those of `MappingSettings` is the name of a column, with a table of steps. There are fixed words only: no
expressions, no regular expressions.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipeline.core.rows.header import parameter_name_problem
from pipeline.core.values.column_steps import SALTED, ColumnSteps
from pipeline.core.values.reading import date_format_problem
from pipeline.core.values.row_steps import RowSteps
from pipeline.settings.sections.base import OptionalPath, Section
from pipeline.settings.sections.export import ExportSettings

#: Keys of a column that are done to a profile id. All others would give several people one id, or change nothing.
_OF_IDS = frozenset({"case", "hash"})


def _sendable(text: str) -> str:
    if set(text) & set(",\r\n\0"):
        raise ValueError("must hold no comma, line break or NUL")
    return text


def _parameter(name: str) -> str:
    if problem := parameter_name_problem(name):
        raise ValueError(f"{name!r} cannot be a parameter name: it {problem}")
    return name


def _date_format(text: str) -> str:
    if problem := date_format_problem(text):
        raise ValueError(f"{text!r} is no format of a date: it {problem}")
    return text


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


#: A text that is sent as it stands.
Sendable = Annotated[str, AfterValidator(_sendable)]
ParameterName = Annotated[str, AfterValidator(_parameter)]


class BooleanWords(Section):
    """The cells that mean true, and those that mean false."""

    true: tuple[str, ...] = Field(min_length=1, description="Required. Cells that are sent as true.")
    false: tuple[str, ...] = Field(min_length=1, description="Required. Cells that are sent as false.")


class ColumnMapping(Section):
    """The steps for the cells of one column; only what is given is done, in the order of the keys here."""

    trim: bool = Field(default=False, description="Take off white space and invisible characters around.")
    clear_values: tuple[str, ...] = Field((), description='Cells sent as clear_as; "" is an empty one.')
    clear_as: Sendable = Field("", description="The text for clear_values: Target cannot clear, an audience can tell.")
    case: Literal["", "lower", "upper"] = Field(
        "", description="Letters of the cell in lower or upper case; empty: as they are."
    )
    values: dict[str, Sendable] = Field(default={}, description="Cell, in the case asked for = what is sent for it.")
    other: Literal["keep", "empty", "reject"] = Field(
        "keep", description="The fate of a cell that values does not list."
    )
    date: tuple[Annotated[str, AfterValidator(_date_format)], ...] = Field(
        (), description="Formats of dates, as %d.%m.%Y; the first that fits. Sent as 2026-11-29, with T14:05:00."
    )
    decimal: Literal["", ",", "."] = Field("", description="Sign before decimals of numbers; sent as 1234.5.")
    boolean: BooleanWords | None = Field(None, description="Cells that mean true, and false; sent as these words.")
    unreadable: Literal["reject", "empty", "keep"] = Field(
        "reject", description="The fate of a cell that is no such date, number or boolean."
    )
    empty: Sendable = Field("", description="What is sent for an empty cell; without it Target keeps what it has.")
    max_length: int = Field(0, ge=0, le=65_536, description="Characters that a cell may have; 0: any number.")
    too_long: Literal["reject", "truncate"] = Field("reject", description="The fate of a cell longer than max_length.")
    hash: Literal["", "sha256", "sha256_unsalted"] = Field(
        "", description="The SHA-256 in hexadecimal, of the salt and the value, or of the value alone."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_table(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            raise ValueError(f"must be a table of steps, with the keys {', '.join(cls.model_fields)}")
        return {**values, "date": _as_list(values["date"])} if "date" in values else values

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        given = self.model_fields_set
        if problem := _problem_of_keys(self, given):
            raise ValueError(problem)
        return self

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {name: value for name, value in handler(self).items() if getattr(self, name) != defaults[name]}

    def steps(self, salt: bytes) -> ColumnSteps:
        """The steps, as the core does them."""
        return ColumnSteps(
            trim=self.trim,
            case=self.case,
            values=self.values,
            other=self.other,
            dates=self.date,
            decimal=self.decimal,
            true=frozenset(self.boolean.true if self.boolean else ()),
            false=frozenset(self.boolean.false if self.boolean else ()),
            unreadable=self.unreadable,
            empty=self.empty,
            clear_values=frozenset(self.clear_values),
            clear_as=self.clear_as,
            max_length=self.max_length,
            too_long=self.too_long,
            hash=self.hash,
            salt=salt,
        )


def _problem_of_keys(column: ColumnMapping, given: set[str]) -> str | None:
    """The first contradiction between the keys of a column, in words, or None."""
    readings = [name for name in ("values", "date", "decimal", "boolean") if getattr(column, name)]
    if len(readings) > 1:
        return f"has {' and '.join(readings)}: a cell can be read in one way only"
    if bool(column.clear_values) != bool(column.clear_as):
        return "needs clear_values and clear_as together: the cells, and the text that is sent for them"
    if "other" in given and not column.values:
        return "has other without values: it says what becomes of a cell that values does not list"
    if "unreadable" in given and readings not in (["date"], ["decimal"], ["boolean"]):
        return "has unreadable without date, decimal or boolean"
    if "too_long" in given and not column.max_length:
        return "has too_long without max_length"
    if column.boolean and (both := sorted({*column.boolean.true} & {*column.boolean.false})):
        return f"has {both[0]!r} among what means true and what means false"
    listed = [*column.values, *(column.boolean.true + column.boolean.false if column.boolean else ())]
    wrong = [cell for cell in listed if column.steps(b"").in_case(cell) != cell]
    if wrong:
        return f"lists {wrong[0]!r}, which no cell is once it is in {column.case} case: write it so"
    if "" in listed:
        return 'lists an empty cell: what is sent for one is said by empty, or by clear_values = [""]'
    return None


def _outcome(value: object) -> object:
    is_table = isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())
    if not is_table and value not in ("excluded", "rejected", "empty"):
        raise ValueError('must be a table of parameters with their values, or "excluded", "rejected" or "empty"')
    return value


class Example(Section):
    """A row, and what it comes to; `config check` tries it."""

    model_config = ConfigDict(populate_by_name=True)

    given: dict[str, str] = Field(alias="in", description="Column = cell; columns that are left out are empty cells.")
    out: Annotated[dict[str, str] | Literal["excluded", "rejected", "empty"], BeforeValidator(_outcome)] = Field(
        description="Parameter = value, the id under the name of its column; or excluded, rejected or empty."
    )

    @model_serializer(mode="plain")
    def _as_given(self) -> dict[str, Any]:
        return {"in": dict(self.given), "out": self.out}


class MappingSettings(Section):
    """The steps that are done to cells, and the rows that are left out. All other keys are names of columns."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ColumnMapping]

    salt_file: OptionalPath = Field(
        None,
        description="Path of the file with the salt for hash = sha256: a line of text that nobody can guess, the same "
        "for ever. sha256_unsalted needs none.",
    )
    constants: dict[ParameterName, Sendable] = Field(default={}, description="Parameter = value for every row.")
    from_export: dict[ParameterName, Literal["name", "date"]] = Field(
        default={},
        description="Parameter = name (that of the export's file) or date (UTC, on which the file was changed last).",
    )
    exclude: dict[str, tuple[str, ...]] = Field(
        default={}, description='Column = cells ("" is an empty one): a row with one of them is left out.'
    )
    exclude_unless: dict[str, tuple[str, ...]] = Field(
        default={}, description="Column = cells: a row with none of them is left out."
    )
    examples: tuple[Example, ...] = Field(
        (), description="Rows (in) and what they come to (out), which `config check` tries."
    )

    @property
    def columns(self) -> dict[str, ColumnMapping]:
        """The columns with steps."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def parameters(self) -> list[str]:
        """The parameters that have one value for all rows."""
        return [*self.constants, *self.from_export]

    @property
    def is_salted(self) -> bool:
        """True if a hash needs the salt."""
        return any(column.hash == SALTED for column in self.columns.values())

    @property
    def does_anything(self) -> bool:
        """True unless rows are sent as they are."""
        return bool(self.columns or self.parameters or self.exclude or self.exclude_unless)

    @property
    def of_a_job(self) -> dict[str, Any]:
        """All that a job needs of it, as plain values."""
        return self.model_dump(mode="json", exclude={"examples"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_salted and self.salt_file is None:
            raise ValueError(
                'salt_file is required by hash = "sha256"; for a hash of the value alone, as others may work it out, '
                'set hash = "sha256_unsalted"'
            )
        if twice := sorted({*self.constants} & {*self.from_export}):
            raise ValueError(f"{twice[0]!r} is in constants and in from_export: it can hold one value")
        for key, conditions in (("exclude", self.exclude), ("exclude_unless", self.exclude_unless)):
            if nothing := [column for column, cells in conditions.items() if not cells]:
                raise ValueError(f"{key} lists no cell for {nothing[0]!r}")
        return self

    def steps(self, salt: bytes, told: Mapping[str, str]) -> RowSteps:
        """The steps, as the core does them. `told`: what is known of the export, by the words of `from_export`."""
        return RowSteps(
            columns={name: column.steps(salt) for name, column in self.columns.items()},
            constants={**self.constants, **{name: told[word] for name, word in self.from_export.items()}},
            exclude={column: frozenset(cells) for column, cells in self.exclude.items()},
            exclude_unless={column: frozenset(cells) for column, cells in self.exclude_unless.items()},
        )

    @property
    def named(self) -> list[str]:
        """The columns that must be in an export."""
        return [*dict.fromkeys([*self.columns, *self.exclude, *self.exclude_unless])]

    def problems(self, export: ExportSettings) -> list[str]:
        """The contradictions between it and [export], in words."""
        id_column, columns, nulls = export.id_column, export.columns, export.null_values
        found = []
        if not export.header and (names := [name for name in self.named if not re.fullmatch("[1-9][0-9]{0,4}", name)]):
            found.append(
                "an export without header has positions for names, 1 the first: columns are named by those, not "
                f"{', '.join(map(repr, names))}"
            )
        for name, column in self.columns.items():
            if name == id_column and (more := sorted(column.model_fields_set - _OF_IDS)):
                found.append(
                    f"{name!r} is the id column, of which only case and hash can be asked, not {', '.join(more)}; "
                    "[export] trim, null_values and id_placeholders say the rest"
                )
            if name not in (id_column, *columns) and export.unlisted != "send":
                found.append(f"{name!r} is not sent: list it under [export] columns, or take its table out")
            if both := [cell for cell in column.clear_values if cell and cell in nulls]:
                found.append(
                    f"{name!r} has {both[0]!r} in clear_values, which [export] null_values takes for an empty cell: "
                    'take it out there, or write clear_values = [""]'
                )
        taken = {id_column: "the id column", **dict.fromkeys(columns.values(), "a column under [export] columns")}
        found += [f"parameter {name!r} is that of {taken[name]} too" for name in self.parameters if name in taken]
        return found


#: The section of a configuration that has none.
NO_MAPPING = MappingSettings()
