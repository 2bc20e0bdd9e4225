"""Errors say how the run ends, and of several endings the worst one wins."""

from itertools import permutations

import pytest

from pipeline.core.errors import (
    EXIT_PRECEDENCE,
    ExitCode,
    FatalError,
    InputError,
    PipelineError,
    most_telling,
    worst,
)


def test_precedence() -> None:
    assert [int(code) for code in EXIT_PRECEDENCE] == [78, 77, 74, 70, 73, 69, 76, 65, 66, 75, 0]


def test_every_ending_of_a_job_has_a_place() -> None:
    assert set(EXIT_PRECEDENCE) == set(ExitCode) - {ExitCode.USAGE}


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 75], 75),
        ([75, 66], 66),
        ([66, 65], 65),
        ([65, 76], 76),
        ([76, 69], 69),
        ([69, 73], 73),
        ([73, 70], 70),
        ([70, 74], 74),
        ([74, 77], 77),
        ([77, 78], 78),
        ([65, 0, 76, 66, 75], 76),
        # How the command was called comes before what it did.
        ([78, 64, 0], 64),
    ],
)
def test_worst(codes: list[int], code: int) -> None:
    for order in permutations(map(ExitCode, codes)):
        assert worst(list(order)) == code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (PipelineError, ExitCode.OUR_BUG),
        (FatalError, ExitCode.OUR_BUG),
        (InputError, ExitCode.EXPORT_UNUSABLE),
    ],
)
def test_exit_codes_of_errors(kind: type[PipelineError], code: ExitCode) -> None:
    assert kind("why").exit_code == code
    assert kind("why", exit_code=ExitCode.DISK_OR_LEDGER).exit_code == ExitCode.DISK_OR_LEDGER
    assert kind("why").exit_code == code, "an exit code given once must not stay"
    assert str(kind("why")) == "why"
    assert issubclass(kind, PipelineError)


def test_input_errors_name_the_line() -> None:
    assert InputError("why").line is None
    error = InputError("why", line=3, exit_code=ExitCode.EXPORT_MISSING)
    assert (error.line, error.exit_code) == (3, 66)


def test_of_several_errors_at_once_the_one_that_says_most_is_told() -> None:
    away = FatalError("Target is away", exit_code=ExitCode.TARGET_UNAVAILABLE)
    token = FatalError("the token", exit_code=ExitCode.REFUSED_BY_TARGET)
    export = InputError("the export")
    for first, second in permutations([away, token, export], 2):
        expected = token if token in (first, second) else away
        assert most_telling(BaseExceptionGroup("", [first, second])) is expected
        deep = BaseExceptionGroup("", [KeyError(), BaseExceptionGroup("", [first, BaseExceptionGroup("", [second])])])
        assert most_telling(deep) is expected
    assert most_telling(ExceptionGroup("", [export])) is export
