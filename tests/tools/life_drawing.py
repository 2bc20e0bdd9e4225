"""The life of a batch as a drawing, made from `LEGAL` and `fold`: `python -m tests.tools.life_drawing` prints it.

The text is in the docstring of `core/batches/lifecycle.py`, the Mermaid diagram in ARCHITECTURE.md; a test compares.
"""

from collections.abc import Iterator

from pipeline.core.batches.lifecycle import (
    LEGAL,
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    Life,
    NeverSent,
    NotTaken,
    Phase,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
    fold,
)

#: One fact of each kind.
EXAMPLES: dict[type[Fact], Fact] = {
    type(fact): fact
    for fact in (
        Begun(7),
        Taken("url"),
        NotTaken("HTTP 503"),
        InDoubt("cut"),
        RefusedAs("bad"),
        SeenComplete(0, 0),
        SeenStuck(),
        GivenUp("lost"),
        SplitUp((8, 9)),
        RowRejected("bad", 2, "u,1"),
        Failed("budget"),
        NeverSent(),
        Released(),
    )
}


def arrows() -> Iterator[tuple[Phase, list[str], Phase]]:
    """From each phase the facts that lead to another one, and which; phases and facts in the order of `LEGAL`."""
    for phase, kinds in LEGAL.items():
        to: dict[Phase, list[str]] = {}
        for kind in kinds:
            to.setdefault(fold(Life(phase), EXAMPLES[kind], 0.0).phase, []).append(kind.__name__)
        for after, names in to.items():
            yield phase, names, after


def text_drawing() -> str:
    """A line for each arrow, indented as a block of a docstring is."""
    width = max(len(phase.name) for phase in Phase)
    lines, drawn = [], None
    for before, names, after in arrows():
        left = "" if before is drawn else before.name
        lines.append(f"    {left:{width}} --{', '.join(names)}--> {after.name}")
        drawn = before
    return "\n".join(lines) + "\n"


def mermaid() -> str:
    """A diagram that GitHub draws."""
    lines = [f"{before.name} --> {after.name}: {', '.join(names)}" for before, names, after in arrows()]
    return "\n    ".join(["stateDiagram-v2", f"[*] --> {Life().phase.name}: sealed", *lines]) + "\n"


if __name__ == "__main__":
    print(text_drawing())
    print(mermaid())
