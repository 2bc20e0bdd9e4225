"""The files around containers, read for tests: Dockerfile, Compose, and manifests as kustomize puts them together."""

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.settings.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/etc/profile-pipeline/config.toml"
UID = 10001
#: At least so much longer than [service] grace_s a container is given to end (seconds).
MARGIN_S = 10.0
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())
#: The services of Compose that are the program, and those beside it.
OURS, BESIDE = ("profile-pipeline", "trial", "sandbox"), ("prometheus", "grafana")
KUBERNETES = ROOT / "config" / "kubernetes"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, an instruction a piece."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]


def last(name: str) -> str:
    """What the last instruction of this name says."""
    return [rest for instruction, rest in instructions() if instruction == name][-1]


@cache
def manifests(folder: str) -> list[dict[str, Any]]:
    """The resources of a directory of `config/kubernetes`, as kustomize gives them to the cluster."""
    kubectl = Path(sys.executable).parent / "kubectl"
    command = [str(kubectl), "kustomize", str(KUBERNETES / folder)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def of_kind(kind: str, folder: str = "base") -> list[dict[str, Any]]:
    """The resources of a kind."""
    return [resource for resource in manifests(folder) if resource["kind"] == kind]


def pods(folder: str = "base") -> dict[str, dict[str, Any]]:
    """The pod's spec of the Deployment and of the CronJob."""
    (deployment,), (cron,) = of_kind("Deployment", folder), of_kind("CronJob", folder)
    job = cron["spec"]["jobTemplate"]["spec"]
    return {"Deployment": deployment["spec"]["template"]["spec"], "CronJob": job["template"]["spec"]}


def container_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The only container of a pod."""
    (container,) = pod["containers"]
    return dict(container)


def settings(file: str = "container.toml", env: Mapping[str, str] | None = None) -> Settings:
    """The settings of a file of `config/`."""
    return load_settings(ROOT / "config" / file, env=env or {})


def seconds(text: str) -> float:
    """Seconds as Compose writes them."""
    match = re.fullmatch(r"(\d+)s", text)
    assert match, text
    return float(match[1])
