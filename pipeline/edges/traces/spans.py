"""The spans of a trace as the program makes them, with or without somebody who wants them."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

#: What a span may say of itself.
Value = str | int | bool


class Span(Protocol):
    """A piece of work that has a beginning and an end."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes, or replace those of the same names."""

    def fail(self, why: str) -> None:
        """Mark the work as failed, in a word or two of ours: nothing that others wrote."""


class Traces(Protocol):
    """Makes spans."""

    def span(
        self, name: str, attributes: Mapping[str, Value], *, is_call: bool = False
    ) -> AbstractContextManager[Span]:
        """A span for the body, below the span in which the task runs or was started; without one a trace begins.

        `is_call`: the work is a call to another machine. An error that ends the body marks the span with its type, and
        with nothing of its text.
        """


class _NoSpan:
    """A span that nobody wants."""

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Do nothing."""

    def fail(self, why: str) -> None:
        """Do nothing."""


class NoTraces:
    """Makes spans that nobody wants: they cost nothing."""

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], *, is_call: bool = False) -> Iterator[Span]:
        """A span that keeps nothing."""
        yield _NO_SPAN


_NO_SPAN = _NoSpan()
