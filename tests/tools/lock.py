"""Write requirements.lock and those of extras, tests (-dev), fuzzing, Spark and the bill of materials.

They hold names, versions and hashes.

Run with `make lock` after a change of the dependencies in pyproject.toml.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPILE = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
BARE = ["--no-emit-index-url", "--no-annotate", "--no-header"]


def resolve(requirements: list[str], *options: str) -> str:
    """The lock text for these requirements."""
    return subprocess.run(
        [sys.executable, "-m", *COMPILE, *BARE, *options, "-"],
        input="\n".join(requirements),
        text=True,
        check=True,
        capture_output=True,
        cwd=ROOT,
    ).stdout


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    run = resolve([*project["project"]["dependencies"], *groups["build"]])
    (ROOT / "requirements.lock").write_text(run)
    develop = resolve(groups["dev"], "--constraint", "requirements.lock")
    # What runs is pinned once, in requirements.lock; the developers' file holds only what comes on top of it.
    pinned = {entry.split("==")[0] for entry in entries(run)}
    on_top = [entry for entry in entries(develop) if entry.split("==")[0] not in pinned]
    data = resolve(groups["data"], "--no-deps")
    (ROOT / "requirements-dev.lock").write_text("".join(sorted([*on_top, *entries(data)])))
    (ROOT / "requirements-sbom.lock").write_text(resolve(groups["sbom"]))
    (ROOT / "requirements-fuzz.lock").write_text(resolve(groups["fuzz"]))
    for name in ("spark", "spark-build"):
        (ROOT / f"requirements-{name}.lock").write_text(resolve(groups[name]))
    for name, extra in project["project"]["optional-dependencies"].items():
        lock = resolve(extra, "--constraint", "requirements.lock")
        (ROOT / f"requirements-{name}.lock").write_text(lock)


def entries(lock: str) -> list[str]:
    """The lock text cut into one piece a package, hashes included."""
    pieces: list[str] = []
    for line in lock.splitlines(keepends=True):
        if line[0].isalnum():
            pieces.append(line)
        else:
            pieces[-1] += line
    return pieces


if __name__ == "__main__":
    main()
