"""Pictures of the pages, light, dark and on a phone: of a real service with the sandbox, for README and documents.

python -m tests.tools.screenshots --into docs/images
"""

import argparse
import asyncio
import io
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.cli.demo import COLUMNS, make_export
from pipeline.sandbox import Fault, FaultPlan
from tests.browser.chromium import CHROMIUM, opened
from tests.browser.serving import Service, service
from tests.service.web.ledgers import enter_jobs
from tests.tools.support import until

#: Options of a browser window by the name of its picture.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1040, "height": 1120}, "device_scale_factor": 1.5},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1040, "height": 1120}, "device_scale_factor": 1.5},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 780}, "device_scale_factor": 2},
}
#: Colours of a picture: the pages have few, and the file gets a third of its size.
_COLOURS = 256
#: A picture is no larger (bytes).
MAX_BYTES = 150_000
ROWS = 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path("docs/images"), help="directory of the pictures")
    into = parser.parse_args().into
    if CHROMIUM is None:
        sys.exit("chromium is not there: `make browser` installs it where it may, else its package does")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-") as directory:
        asyncio.run(take_all(Path(directory), into))


async def take_all(directory: Path, into: Path) -> None:
    """Let jobs of the last weeks, of now and of a moment ago be there, and take the pictures."""
    began = datetime.now(UTC) - timedelta(days=26)
    enter_jobs(directory / "state", 26, name="customers", began=began, apart=timedelta(days=1), rows=ROWS)
    faults = FaultPlan(posts={2: Fault.HTTP_500, 3: Fault.FAIL_ROWS}, failing_rows=2)
    settings: dict[str, Any] = {
        "export": {"id_column": "customer_id", "columns": COLUMNS, "unlisted": "ignore"},
        "batch": {"max_rows": 800},
        "upload": {"concurrency": 2},
    }
    async with service(directory, faults=faults, **settings) as at:
        write(at, "customers.csv", seed=1)
        await until(lambda: has_ended(at), within_s=120)
        job = at.drop.reports()[0]["job"]
        write(at, "prospects.csv", seed=2)
        await at.job("prospects.csv", state="unfinished", batches=8)
        # All but the rows that were held for these: they go out now, and nothing applies them.
        at.drop.at.sandbox.apply_all()
        await at.job("prospects.csv", state="unfinished", batches=9)
        await take(at, "overview", f"{at.url}/", into)
        await take(at, "job", at.page_of(job), into)


def has_ended(at: Service) -> bool:
    """Apply what has arrived; True once a job has ended."""
    at.drop.at.sandbox.apply_all()
    return bool(at.drop.reports())


def write(at: Service, name: str, *, seed: int) -> None:
    """Drop an export of the demo."""
    (at.drop.directory / name).write_bytes(make_export(ROWS, seed).content)
    (at.drop.directory / f"{name}.ready").touch()


async def take(at: Service, what: str, url: str, into: Path) -> None:
    """Take a page in each look."""
    for look, options in LOOKS.items():
        async with opened(at.url, **options) as window:
            await window.open(url)
            await window.until_live()
            keep(await window.page.screenshot(), into / f"{what}-{look}.png")


def keep(picture: bytes, file: Path) -> None:
    """Write a picture with as few bytes as its colours allow, and tell its size."""
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    size_bytes = file.stat().st_size
    print(f"{file}: {size_bytes:,} bytes")
    if size_bytes > MAX_BYTES:
        sys.exit(f"{file} is larger than {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    main()
