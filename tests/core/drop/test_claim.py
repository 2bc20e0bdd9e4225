"""Claims as the ledger keeps them."""

import json
from dataclasses import replace

from pipeline.core.drop.claim import Claim
from pipeline.core.drop.manifest import Manifest
from pipeline.core.errors import ExitCode, InputError

CLAIM = Claim(
    drop="j1",
    source="sub/a.csv",
    signal="sub/_SUCCESS",
    signal_bytes=3,
    signal_mtime_ns=2**60,
    manifest=Manifest(files=("a.csv",), columns=("id", "tier"), sequence=4, dry_run=True),
    as_of="20261123",
)


def test_a_claim_survives_the_ledger() -> None:
    assert Claim.from_dict(json.loads(json.dumps(CLAIM.as_dict()))) == CLAIM
    taken = replace(CLAIM, is_taken=True, is_verified=True)
    assert Claim.from_dict(json.loads(json.dumps(taken.as_dict()))) == taken


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert Claim.from_dict({**CLAIM.as_dict(), "colour": "red"}) == CLAIM


def test_the_first_failure_stays() -> None:
    assert CLAIM.failure is None
    failed = CLAIM.failed(InputError("gone", exit_code=ExitCode.EXPORT_MISSING)).failed(InputError("other"))
    again = Claim.from_dict(json.loads(json.dumps(failed.as_dict()))).failure
    assert again is not None
    assert (str(again), again.exit_code) == ("gone", ExitCode.EXPORT_MISSING)
