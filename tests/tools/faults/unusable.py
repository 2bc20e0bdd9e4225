"""Exports that cannot be used, with canaries in every cell, id and name: `load` or the service ends, and tells none.

`python -m tests.tools.faults.unusable --runs 40`. No id column, no header, a header that is spelled alike or that
cannot be read, rows of another form, and manifests that hold rows.
"""

import asyncio
import random
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from pipeline.sandbox import SandboxOptions, running
from tests.tools.faults.canaries import MARK, TOKEN, check_told
from tests.tools.faults.loading import make_export, run, write_config
from tests.tools.faults.tally import Tally, hold

ROWS = 12
#: The exit code of `load` for an export that cannot be used.
_INPUT = 65
_NAMES = f"{MARK}id,{MARK}tier,{MARK} ltv,{MARK}.city"

#: Makes the bytes of an export out of the lines of its rows.
Spoiled = Callable[[list[str]], bytes]


def _under(header: str, encoding: str = "utf-8", end: str = "\n") -> Spoiled:
    return lambda rows: "".join(line + end for line in (header, *rows)).encode(encoding)


SPOILED: dict[str, Spoiled] = {
    "no header": lambda rows: "\n".join(rows).encode(),
    "no header, one row": lambda rows: rows[0].encode(),
    "no id column": _under(_NAMES),
    "no id column, in quotes": _under(_NAMES.replace(MARK, f'"{MARK}').replace(",", '",') + '"'),
    "no id column, by semicolons": _under(_NAMES.replace(",", ";")),
    "no id column, in UTF-16": _under(_NAMES, "utf-16"),
    "no id column, line ends of old": _under(_NAMES, end="\r"),
    "an id column that is spelled alike": _under(f"I D,{MARK},{MARK} tier,city"),
    "the id column twice": _under(f"id,{MARK},id,{MARK}"),
    "a name in two lines": _under(f'"{MARK}\n{MARK}",tier,ltv,city'),
    "a name that does not close": _under(f'"{MARK},{MARK},ltv,city'),
    "a name with a NUL": _under(f"{MARK}\0,tier,ltv,city"),
    "a name with ESC": _under(f"{MARK}\x1b[2J,tier,ltv,city"),
    "a name that is not UTF-8": lambda rows: f"{MARK}".encode() + b"\xff,tier\n" + "\n".join(rows).encode(),
    "a sep that is none": _under(f"sep={MARK}"),
    "a page": lambda rows: f"<html><body>{rows}</body></html>".encode(),
    "an archive": lambda rows: b"PK\x03\x04[Content_Types].xml" + "\n".join(rows).encode(),
    "JSON without the id": lambda rows: "".join(f'{{"{MARK}":"{row}"}}\n' for row in rows).encode(),
    "JSON that is none": lambda rows: "".join(f'{{"id":"{row}",{MARK}}}\n' for row in rows).encode(),
    "an array of JSON": lambda rows: f'[{{"id":"{rows[0]}"}}]'.encode(),
}
MANIFESTS = (
    "",
    f"rows={MARK}",
    f"sha256={MARK}",
    f"columns={_NAMES}",
    f"columns=id,{MARK}",
    f"{MARK}={MARK}",
    _NAMES,
    f'{{"{MARK}":"{MARK}"}}',
    f'{{"columns":[["{MARK}"]]}}',
    f"again={MARK}",
)


async def load_unusable(seed: int) -> None:
    """One such export, by `load` or by the service. Raises `AssertionError` where it is sent or told of."""
    draw, name = random.Random(seed), list(SPOILED)[seed % len(SPOILED)]
    content = SPOILED[name](make_export(ROWS, seed).text.splitlines()[1:])
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-unusable-") as place:
        folder, is_dropped = Path(place), draw.random() < 0.5
        source, config, state = folder / "drop", folder / "config.toml", folder / "state"
        source.mkdir()
        (source / "export.csv").write_bytes(content)
        async with running(SandboxOptions(calls_per_minute=None, token=TOKEN)) as run_of_target:
            write_config(config, run_of_target.base_url, state, batch_rows=20, max_rejects="0")
            command = ["load", str(source / "export.csv"), "--config", str(config), *["--json"] * draw.randrange(2)]
            if is_dropped:
                (source / "export.csv.ready").write_text(draw.choice(MANIFESTS))
                with config.open("a") as file:
                    file.write(f'[drop]\ndirectory = "{source}"\npoll_s = 0.02\nsettle_s = 0.05\n')
                command = ["serve", "--drain", "--config", str(config)]
            code, out, err = await run(*command)
            told = f"{name}, {command[0]} ended with {code}: {err.decode()[-600:]}"
            hold("lost", run_of_target.sandbox.counts()["batches"] == 0, told)
        assert code in ((0, _INPUT) if is_dropped else (_INPUT,)), told
        await check_told(folder, state, config, out, err, exports=[source, folder / "token"])


def one_run(seed: int) -> Tally:
    """The export whose turn it is."""
    asyncio.run(load_unusable(seed))
    return Tally(runs=1, rows=ROWS, events=1)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        try:
            asyncio.run(load_unusable(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    print(
        f"{arguments.runs} exports that cannot be used, {time.monotonic() - began:,.0f} s: nothing sent, nothing told"
    )


if __name__ == "__main__":
    main()
