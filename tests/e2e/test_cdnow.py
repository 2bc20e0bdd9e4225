"""The CDNOW purchases (69,659 of 23,570 customers) load into the sandbox as a ten-line csv program reads them."""

import csv
from importlib.metadata import distribution
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.edges.exports import open_export
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.jobs.row_source import open_rows
from pipeline.sandbox import SandboxOptions, running
from pipeline.settings.sections.export import ExportSettings
from tests.tools.support import settings_for

CUSTOMERS = 23_570
#: Ids keep their zeros, and amounts theirs.
AS_TEXT = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(["customer_id", "dollars"], "string"))
PURCHASES = 69_659


@pytest.fixture(scope="module")
def purchases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The purchases as a CSV export, in the order of the file."""
    # Located, not imported: only this file of the package is used, without what the package itself needs.
    purchased = Path(str(distribution("lifetimes").locate_file("lifetimes/datasets/CDNOW_master.txt")))
    lines = purchased.read_text().splitlines()
    export = tmp_path_factory.mktemp("cdnow") / "purchases.csv"
    with export.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "last_purchase", "cds", "dollars"])
        writer.writerows(line.split() for line in lines[1:])
    return export


def last_purchases(export: Path) -> dict[str, dict[str, str]]:
    """Per customer the last non-empty value of each column: what must be in Target."""
    profiles: dict[str, dict[str, str]] = {}
    with export.open(newline="") as file:
        for row in csv.DictReader(file):
            customer = row.pop("customer_id")
            profiles.setdefault(customer, {}).update({name: value for name, value in row.items() if value})
    return profiles


async def test_cdnow_as_parquet_has_the_rows_of_the_csv(purchases: Path, tmp_path: Path) -> None:
    pq.write_table(pyarrow.csv.read_csv(purchases, convert_options=AS_TEXT), tmp_path / "purchases.parquet")
    bodies = []
    for path in (purchases, tmp_path / "purchases.parquet"):
        settings = ExportSettings(id_column="customer_id", unlisted="send")
        async with open_export(path, settings.encoding) as export:
            source = await open_rows(
                export, settings, Checkpoint(), open_export=open_export, carried=(), max_batch_bytes=10**7, salt=1
            )
            found = []
            while (block := await source.read()) is not None:
                found.append(block.mapped.rows.body)
        bodies.append(b"".join(found))
    assert bodies[0] == bodies[1]
    assert bodies[0].count(b"\n") == PURCHASES


async def test_cdnow_ends_as_a_plain_reading_says(purchases: Path, tmp_path: Path) -> None:
    """Where Target keeps the attributes that a later batch does not name, as it does by all that is known.

    Under "replace" this is promised only for an unbroken chain of held rows: a row whose id is in no batch in flight
    any more is sent with its own values, and what an earlier batch set of others would go.
    """
    options = SandboxOptions(apply_min_s=0.01, apply_max_s=0.5, calls_per_minute=None, override="merge")
    expected = last_purchases(purchases)
    async with running(options) as run:
        settings = settings_for(
            run.base_url,
            tmp_path / "state",
            export={"id_column": "customer_id", "unlisted": "send"},
            batch={"max_rows": 4_000},
        )
        report = (await load_export(purchases, settings, host=Host())).as_json()
        assert run.sandbox.profiles() == expected
        assert run.sandbox.mistakes == []
    rows = report["rows"]
    assert (report["state"], rows["read"], len(expected)) == ("done", PURCHASES, CUSTOMERS)
    assert rows["confirmed"] + rows["superseded"] == PURCHASES
    assert rows["superseded"] > 0
    assert len(report["batches"]) > 5
