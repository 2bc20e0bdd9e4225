"""The life of a batch is drawn as the code says, and the documents hold what is drawn."""

import re
from pathlib import Path
from typing import get_args

from pipeline.core.batches import lifecycle
from pipeline.core.batches.lifecycle import LEGAL, Fact, Phase
from tests.tools.life_drawing import EXAMPLES, arrows, mermaid, text_drawing

ARCHITECTURE = Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"


def test_every_fact_that_may_happen_is_drawn_once_in_each_phase() -> None:
    assert EXAMPLES.keys() == set(get_args(Fact))
    drawn = [(before, name) for before, names, _ in arrows() for name in names]
    assert drawn == [(phase, kind.__name__) for phase, kinds in LEGAL.items() for kind in kinds]


def test_text() -> None:
    first, second, *_ = text_drawing().splitlines()
    assert first == "    READY     --Begun--> POSTING"
    assert second == "              --GivenUp, NeverSent--> SETTLED"
    assert text_drawing().count("-->") == len(list(arrows()))


def test_mermaid() -> None:
    lines = mermaid().splitlines()
    assert lines[:3] == ["stateDiagram-v2", "    [*] --> READY: sealed", "    READY --> POSTING: Begun"]
    assert {phase.name for phase in Phase} <= set(re.findall(r"\w+", mermaid()))
    assert len(lines) == 2 + len(list(arrows()))


def test_the_docstring_holds_what_is_drawn() -> None:
    """If not: put in what `python -m tests.tools.life_drawing` prints."""
    first, drawing, *_ = (lifecycle.__doc__ or "").split("\n\n")
    assert first.startswith("The life of a batch")
    assert drawing + "\n" == text_drawing()


def test_the_architecture_holds_what_is_drawn() -> None:
    """If not: put in what `python -m tests.tools.life_drawing` prints."""
    diagrams = re.findall(r"```mermaid\n(stateDiagram.*?)```", ARCHITECTURE.read_text(), flags=re.DOTALL)
    assert diagrams == [mermaid()]
