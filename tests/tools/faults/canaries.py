"""Canaries: a word in every id, cell and token of the tests of faults, which must show up nowhere else.

Where rows may lie, they do so for their owner only: the ledger, the spool, gathered rows, the memory, rejects and
failed rows, the header of an export that cannot be used, what Target answered, kept exports.
"""

import base64
import contextlib
import io
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import structlog

from pipeline.edges.log import configure_logging
from tests.tools.faults.tally import hold
from tests.tools.support import run_program

#: Letters only, so that it is the same in a body, in JSON and in HTML.
MARK = "QzWrenLark"
#: The bearer token of the tests of faults.
TOKEN = f"{MARK}token"
#: Patterns, relative to the state directory of a client code, of what may hold rows.
_MAY_HOLD = (
    "ledger*",
    "spool/*",
    "gathered/*/*",
    "memory/*",
    "jobs/*/rejects.jsonl",
    "jobs/*/rejects.csv",
    "jobs/*/columns.json",
    "jobs/*/fixed.csv",
    "jobs/*/mended.csv",
    "jobs/*/failed.jsonl",
    "jobs/*/header.txt",
    "jobs/*/answers*",
)
#: The state directories of client codes, relative to that of all.
_STATES = ("", "clients/*/")
#: Kept exports, which keep their own mode; their folder is for its owner only.
_KEPT = "jobs/*/drop"


def _forms() -> tuple[bytes, ...]:
    """The mark as it can be written: as it is, escaped, in other codes, and in base64 wherever it begins there."""
    raw = MARK.encode()
    in_base64 = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        # Only what no neighbour has a bit of.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        in_base64.append(encoded[first:last])
    return (
        raw,
        *in_base64,
        raw.hex().encode(),
        raw.hex().upper().encode(),
        "".join(f"%{byte:02X}" for byte in raw).encode(),
        "".join(f"\\u{byte:04x}" for byte in raw).encode(),
        "".join(f"\\x{byte:02x}" for byte in raw).encode(),
        "".join(f"&#{byte};" for byte in raw).encode(),
        MARK.encode("utf-16-le"),
        MARK.encode("utf-16-be"),
    )


FORMS = _forms()


def is_marked(text: bytes) -> bool:
    """True if the mark is in a text, in any form, in whatever case."""
    lowered = text.lower()
    return any(form in text for form in FORMS) or FORMS[0].lower() in lowered


def check_canaries(folder: Path, state: Path, told: Iterable[bytes], *, exports: Collection[Path] = ()) -> None:
    """No canary is in what was told, in a file outside STATE but `exports`, or in a file of STATE that may hold none.

    `told`: what the program wrote. `exports`: what the test itself put there, folders with all that is in them.
    """
    places = [f"what was told: {_around(text)}" for text in told if is_marked(text)]
    may_hold = {file for of in _STATES for pattern in _MAY_HOLD for file in state.glob(of + pattern)}
    kept = [directory for of in _STATES for directory in state.glob(of + _KEPT)]
    for directory in kept:
        hold("leaked", _is_private(directory), f"{directory} is readable to others")
    for file in sorted(folder.rglob("*")):
        if any(file == each or file.is_relative_to(each) for each in (*exports, *kept)):
            continue
        if is_marked(str(file.relative_to(folder)).encode()):
            places.append(f"the name {file}")
        if not file.is_file() or file.is_symlink():
            continue
        if file in may_hold:
            hold("leaked", _is_private(file), f"{file} is readable to others")
        elif is_marked(file.read_bytes()):
            places.append(f"{file.relative_to(folder)}: {_around(file.read_bytes())}")
    hold("leaked", not places, "\n".join(places), len(places))
    if state.exists():
        hold("leaked", _is_private(state), f"{state} is readable to others")


async def check_told(folder: Path, state: Path, config: Path, *told: bytes, exports: Collection[Path] = ()) -> None:
    """`check_canaries`, with all that `status` tells afterwards."""
    looked = [
        await run_program("status", "--config", config),
        await run_program("status", "--all", "--config", config, "--json"),
    ]
    check_canaries(folder, state, [*told, *(done.said.encode() for done in looked)], exports=exports)


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """The log of what runs in this process, as the program would write it, with all that is worth debugging."""
    before, log = structlog.get_config(), io.StringIO()
    with contextlib.redirect_stderr(log):
        configure_logging(is_terminal=False, min_level="debug")
        try:
            yield log
        finally:
            structlog.configure(**before)


def _is_private(file: Path) -> bool:
    return not stat.S_IMODE(file.stat().st_mode) & 0o077


def _around(text: bytes) -> str:
    """The line in which a canary stands."""
    return next((line.decode(errors="replace")[:400] for line in text.splitlines() if is_marked(line)), "in pieces")
