"""The memory against a dictionary: in whatever order it remembers, merges, lets go and is killed, it says the same."""

from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.core.batches.lifecycle import Life
from pipeline.core.memory.digest import digest_rows
from pipeline.core.memory.entries import in_parts
from pipeline.edges.store.memory import upkeep
from pipeline.edges.store.memory.sorted_file import PARTITIONS, partition_of
from tests.core.builders import SALT, id_of, ids_of_one_hash, rows_of
from tests.edges.store.memory.builders import COMPLETE, FAILED, GIVEN_UP, MISREAD, Released, asked, losing

#: Two of one key, and others.
ALIKE = [each.decode() for each in ids_of_one_hash(SALT)]
IDS = [*ALIKE, "ann", "bob", "c%20d", "eve", "a-much-longer-id-of-more-than-sixteen-bytes"]
CELLS = ["1,2", "1,", ",2", "3,4", "3", "%2C,x"]
SHAPES = ["a,b", "b,a", "a,c"]


@dataclass(frozen=True)
class Known:
    """What is remembered of an id. `text`: its row, with the names of its cells; None if nothing may be carried."""

    text: tuple[str, str] | None = None
    sent_at: int = 0
    noted_at: int = 0
    source: int = 0


@dataclass
class Model:
    """What the memory ought to say. `with_values`: of each id; otherwise of the last id of each key."""

    with_values: bool
    known: dict[str, Known] = field(default_factory=dict)

    def remember(self, rows: dict[str, str], fates: dict[str, str], parameters: str, at: int, source: int) -> None:
        for profile_id, cells in rows.items():
            before = self.known.get(profile_id, Known())
            fate, text = fates[profile_id], (parameters, f"{profile_id},{cells}")
            kept = before.text if fate == "refused" else text
            if not self.with_values and profile_id in ALIKE:
                before = max((self.known.get(each, Known()) for each in ALIKE), key=lambda each: each.noted_at)
                # The digests cannot tell them apart: of one that is forgotten, the other is too.
                self.known = {each: known for each, known in self.known.items() if each not in ALIKE}
            has_source = source and fate != "refused"
            self.known[profile_id] = Known(
                kept, at if fate == "sent" else 0, at, source if has_source else before.source
            )


def assert_same(state: Released, model: Model) -> None:
    """The memory says of each id what the model says, asked for all ids, for some, and partition by partition."""
    names = dict(enumerate(state.memory.shapes))
    for ids in (IDS, IDS[:2], IDS[1::2]):
        rows = asked([f"{profile_id},1" for profile_id in ids])
        found, texts = state.memory.find(rows.hashes, rows), rows.rows()
        for index in range(len(rows)):
            profile_id, at = id_of(texts.text(index)).decode(), int(found.indexes[index])
            known = model.known.get(profile_id, Known())
            if model.with_values:
                assert int(found.sent_at[index]) == known.sent_at, profile_id
                values = found.entries.values
                assert values is not None
                text = None
                if at >= 0 and values.has_cells[at]:
                    text = (",".join(names[int(values.shapes[at])]), values.row(at)[:-1].decode())
                assert text == known.text, profile_id
                assert at < 0 or values.profile_id(at).decode() == profile_id
                if known.text is not None:
                    assert int(found.sources[index]) == known.source
            elif known.sent_at:
                assert int(found.sent_at[index]) == known.sent_at, profile_id
                assert known.text is not None
                assert int(found.digests[index]) == digest_of(known.text), profile_id
            elif known.noted_at or profile_id not in ALIKE:
                # Lost, or never sent.
                assert int(found.sent_at[index]) == 0
    count = 0
    for partition in range(PARTITIONS):
        keys = np.concatenate([np.zeros(0, np.uint64), *(part.keys for part in state.memory.parts_of(partition))])
        assert set(partition_of(keys).tolist()) <= {partition}
        assert (np.diff(keys.astype(object)) >= 0).all()
        count += len(keys)
    said = [known for known in model.known.values() if known.sent_at or (model.with_values and known.text)]
    assert count == len(said)
    assert state.memory.facts().ids >= count


def digest_of(text: tuple[str, str]) -> int:
    rows = rows_of([f"{text[1]}\n".encode()])
    return int(digest_rows(rows.body, rows.starts, rows.ends, tuple(text[0].split(",")), SALT)[0])


@dataclass(frozen=True)
class Batch:
    """A batch that is released, and what becomes of its rows; `is_cut_off`: the process dies before it is durable."""

    rows: dict[str, str]
    lives: str
    lost: tuple[str, ...]
    parameters: str
    source: int
    is_cut_off: bool

    def life(self) -> Life:
        lives = {
            "complete": COMPLETE,
            "given up": GIVEN_UP,
            "failed": FAILED,
            "failed ids": losing(failed=self.lost),
            "doubtful ids": losing(unconfirmed=self.lost),
            "unnamed": losing(failed=self.lost, unnamed=1),
            "strays": losing(failed=["nobody"]),
            "misread": MISREAD,
        }
        return lives[self.lives]

    def fates(self, profile_id: str) -> str:
        is_lost = profile_id in self.lost
        return {
            "complete": "sent",
            "given up": "doubtful",
            "failed": "refused",
            "failed ids": "refused" if is_lost else "sent",
            "doubtful ids": "doubtful" if is_lost else "sent",
            "unnamed": "refused" if is_lost else "doubtful",
            "strays": "doubtful",
            "misread": "doubtful",
        }[self.lives]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    # Two ids of one key in one batch are another test.
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, unique_by=lambda each: each if each not in ALIKE else ""))
    rows = {profile_id: draw(st.sampled_from(CELLS)) for profile_id in ids}
    kinds = ["complete", "complete", "given up", "failed", "failed ids", "doubtful ids", "unnamed", "strays", "misread"]
    lost = tuple(draw(st.lists(st.sampled_from(ids), unique=True)))
    shape = draw(st.sampled_from(SHAPES))
    return Batch(rows, draw(st.sampled_from(kinds)), lost, shape, draw(st.integers(0, 2)), draw(st.integers(0, 5)) == 0)


STEPS = st.one_of(
    batches(),
    batches(),
    st.sampled_from(["merge", "merge runs", "merge all", "restart", "expire"]),
    st.tuples(st.just("forget"), st.lists(st.sampled_from(IDS), min_size=1, unique=True)),
)


#: A step writes real files: shrinking an example would take minutes.
@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@pytest.mark.parametrize("with_values", [False, True], ids=["digests", "values"])
@given(steps=st.lists(STEPS, max_size=14))
def test_the_memory_says_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, with_values: bool, steps: list[Batch | str | tuple[str, list[str]]]
) -> None:
    # Of what is merged, two keys at a time.
    with patch("pipeline.edges.store.memory.files.in_parts", partial(in_parts, rows=2)):
        check(Released(tmp_path_factory.mktemp("memory"), with_values=with_values), Model(with_values), steps)


def check(state: Released, model: Model, steps: list[Batch | str | tuple[str, list[str]]]) -> None:
    for at, step in enumerate(steps, start=1_000):
        files = state.memory._files
        match step:
            case Batch():
                if step.is_cut_off:
                    state.release(step.rows, step.life(), at=at, source=step.source, parameters=step.parameters)
                    state.restart()
                else:
                    state.remember(step.rows, step.life(), at=at, source=step.source, parameters=step.parameters)
                    fates = {profile_id: step.fates(profile_id) for profile_id in step.rows}
                    model.remember(step.rows, fates, step.parameters, at, step.source)
            case "merge":
                for partition in {int(partition_of(asked([profile_id]).hashes)[0]) for profile_id in IDS[:4]}:
                    files.enter(upkeep.merge_partition(files, partition))
            case "merge all":
                for partition in range(PARTITIONS):
                    files.enter(upkeep.merge_partition(files, partition))
            case "merge runs":
                files.enter(upkeep.merge_runs(files, files.runs()[-3:]))
            case "restart":
                state.restart()
            case "expire":
                state.memory.expire(at - 5)
                model.known = {each: known for each, known in model.known.items() if known.noted_at >= at - 5}
            case ("forget", ids):
                known = sum(1 for each in ids if (it := model.known.get(each)) and (it.sent_at or it.text))
                assert state.memory.forget([each.encode() for each in ids]) >= (known if model.with_values else 0)
                gone = {*ids, *(ALIKE if not model.with_values and set(ids) & set(ALIKE) else [])}
                model.known = {each: known for each, known in model.known.items() if each not in gone}
        assert_same(state, model)
        assert state.names() == state.catalogued_names()
