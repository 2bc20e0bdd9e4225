"""The report of a job: what is written of it, and that reports of earlier versions are read."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from pipeline.core.batches.report import Report, ReportedBatch, ReportedExport, ReportedPart, ReportedRejects
from pipeline.core.errors import ExitCode
from pipeline.core.model import Batch, BatchState, RowCounts, Settled

REPORT = Report(
    job="20261123T021400Z-customers-3f2a",
    state="incomplete",
    error=None,
    exit_code=ExitCode.ROWS_LOST,
    export=ReportedExport("customers.csv", 1_234, "ab" * 32, 9),
    client_code="acme",
    columns_sent=("tier", "ltv"),
    parts=(ReportedPart("customers-0.csv", 1_234, 9),),
    same_as="20261122T021400Z-customers-77aa",
    target="https://acme.tt.omtrdc.net",
    version="0.1.0",
    config_sha256="cd" * 32,
    started_at="2026-11-23T02:14:00+00:00",
    finished_at="2026-11-23T03:35:12+00:00",
    seconds=4_872.125,
    rows=RowCounts(read=9, confirmed=4, rejected=3, failed=2),
    rejects=ReportedRejects("rejects.jsonl", {"local.empty_id": 2, "target.refused": 1}, {"local.empty_id": 7}),
    warnings={"bare_quote": 1, "empty_cells": {"tier": 2}},
    batches=(
        ReportedBatch(1, 6, 600, "ef" * 32, "failed", 2, rejected=1, why="Target failed 2 rows"),
        ReportedBatch(2, 0, 0, "", "complete", 1),
    ),
    calls=7,
)
#: Exactly so, keys in this order: other programs read it.
WRITTEN = (
    '{"job":"20261123T021400Z-customers-3f2a","state":"incomplete","error":null,"exit_code":76,'
    f'"export":{{"name":"customers.csv","bytes":1234,"sha256":"{"ab" * 32}","rows":9}},'
    '"client_code":"acme","columns_sent":["tier","ltv"],'
    '"parts":[{"name":"customers-0.csv","bytes":1234,"rows":9}],'
    '"same_as":"20261122T021400Z-customers-77aa","retry_of":null,"target":"https://acme.tt.omtrdc.net","version":"0.1.0",'
    f'"config_sha256":"{"cd" * 32}","started_at":"2026-11-23T02:14:00+00:00",'
    '"finished_at":"2026-11-23T03:35:12+00:00","seconds":4872.125,'
    '"rows":{"read":9,"confirmed":4,"superseded":0,"unchanged":0,"excluded":0,"rejected":3,"empty":0,"failed":2,'
    '"unconfirmed":0,"unsent":0},'
    '"rejects":{"file":"rejects.jsonl","by_reason":{"local.empty_id":2,"target.refused":1},"first_lines":{"local.empty_id":7}},'
    '"excluded":{},"warnings":{"bare_quote":1,"empty_cells":{"tier":2}},'
    f'"batches":[{{"number":1,"rows":6,"bytes":600,"sha256":"{"ef" * 32}","state":"failed","attempts":2,"rejected":1,'
    '"why":"Target failed 2 rows"},'
    '{"number":2,"rows":0,"bytes":0,"sha256":"","state":"complete","attempts":1}],"calls":7,"spent":{}}'
)


def test_what_is_written() -> None:
    assert orjson.dumps(REPORT.as_json()).decode() == WRITTEN


def test_what_is_written_is_read() -> None:
    assert Report.from_json(orjson.loads(WRITTEN)) == REPORT


@pytest.mark.parametrize("missing", list(REPORT.as_json()))
def test_a_key_that_an_earlier_version_did_not_write_has_a_default(missing: str) -> None:
    written = REPORT.as_json()
    del written[missing]
    read = Report.from_json(written).as_json()
    assert list(read) == list(REPORT.as_json())
    assert type(read[missing]) is type(Report.from_json({}).as_json()[missing])
    del read[missing]
    assert read == written


def test_a_key_that_is_unknown_is_left_out() -> None:
    written: dict[str, Any] = {**REPORT.as_json(), "mood": "good"}
    for part in ("export", "rows", "rejects"):
        written[part] = {**written[part], "mood": "good"}
    written["batches"] = [{**batch, "mood": "good"} for batch in written["batches"]]
    assert Report.from_json(written) == REPORT


def test_a_batch_of_which_the_outcome_is_final() -> None:
    settled = Settled(Batch(77, 3, 9, 900, "ab", parent=5), BatchState.SPLIT, 0, 0, 0, 4, 0.0, may_be_applied=False)
    assert ReportedBatch.of(settled) == ReportedBatch(3, 9, 900, "ab", "split", 4)
    lossy = replace(settled, state=BatchState.FAILED, rejected=1, why="refused")
    assert ReportedBatch.of(lossy) == ReportedBatch(3, 9, 900, "ab", "failed", 4, 1, "refused")
