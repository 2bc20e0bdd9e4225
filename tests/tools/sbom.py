"""Write the bill of materials of what runs, in the CycloneDX format: `make sbom`.

It is made from an environment that holds what requirements.lock names and nothing else, so that versions, licences and
who needs whom are those of a real installation. The tool that writes it has an environment and a lock file of its own
(requirements-sbom.lock): it is no part of the product, nor of what tests need.
"""

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = "profile-pipeline"


def install(environment: Path, *what: str) -> Path:
    """Make an environment without pip in it, and install into it; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", *what], check=True, cwd=ROOT)
    return python


def write_sbom(to: Path) -> list[str]:
    """Write the bill of materials to a file; returns the names of the packages in it, as they are written there."""
    with TemporaryDirectory(prefix="profile-pipeline-sbom-") as name:
        run = install(Path(name) / "run", "--require-hashes", "--requirement", "requirements.lock")
        tool = install(Path(name) / "tool", "--require-hashes", "--requirement", "requirements-sbom.lock")
        options = ["--pyproject", "pyproject.toml", "--short-PURLs", "--output-reproducible", "--of", "JSON"]
        command = [str(tool), "-m", "cyclonedx_py", "environment", *options, "-o", str(to.resolve()), str(run)]
        subprocess.run(command, check=True, cwd=ROOT)
    return sorted(component["name"] for component in orjson.loads(to.read_bytes())["components"])


def main() -> None:
    """Write the file that is named, by default sbom.cdx.json in the current directory, and say what is in it."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--to", type=Path, default=Path("sbom.cdx.json"))
    to = parser.parse_args().to
    names = write_sbom(to)
    print(f"{to}: {len(names)} packages beside {PRODUCT}: {', '.join(names)}")


if __name__ == "__main__":
    main()
