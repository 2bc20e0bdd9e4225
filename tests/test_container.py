"""What the container files say, held against what the product says: nothing in them may drift.

`make image` tries the image itself, where there is an engine. Kubernetes has a module of its own.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

import pytest
import typer
import yaml
from packaging.specifiers import SpecifierSet

from pipeline import __version__
from pipeline.cli.app import app
from pipeline.settings.settings import ENV_PREFIX
from tests.tools.container_files import (
    BESIDE,
    COMPOSE,
    CONFIG,
    MARGIN_S,
    OURS,
    ROOT,
    UID,
    container_of,
    instructions,
    last,
    pods,
    seconds,
    settings,
)
from tests.tools.image import of_git

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in these files, and where it stands."""
    yield "CMD", json.loads(last("CMD"))
    program, *probe = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert [program] == json.loads(last("ENTRYPOINT"))
    yield "HEALTHCHECK", probe
    for name in OURS:
        if "command" in COMPOSE["services"][name]:
            yield f"compose {name}", COMPOSE["services"][name]["command"]
    for kind, pod in pods().items():
        container = container_of(pod)
        yield f"{kind} args", container["args"]
        for probe_name in ("startupProbe", "livenessProbe"):
            if probe_name in container:
                program, *probe = container[probe_name]["exec"]["command"]
                assert [program] == json.loads(last("ENTRYPOINT"))
                yield f"{kind} {probe_name}", probe


class TestDockerfile:
    def test_the_interpreter_is_one_we_support(self) -> None:
        base, extra, *of_labels = [rest for name, rest in instructions() if name == "ARG"]
        assert extra == "EXTRA="
        assert of_labels == ["BASE", "SOURCE=", "REVISION=", "CREATED="]
        version = re.fullmatch(r"BASE=python:(3\.\d+)-slim", base)
        assert version, base
        assert version[1] in SpecifierSet(PROJECT["requires-python"])
        stages = [rest for name, rest in instructions() if name == "FROM"]
        assert stages == ["${BASE} AS build", "${BASE}"]

    def test_labels(self) -> None:
        labels = dict(pair.split("=", 1) for pair in shlex.split(last("LABEL")))
        prefix = "org.opencontainers.image."
        assert {name.removeprefix(prefix): value for name, value in labels.items()} == {
            "title": PROJECT["name"],
            "description": PROJECT["description"],
            "version": __version__,
            "licenses": PROJECT["license"],
            "vendor": PROJECT["authors"][0]["name"],
            "revision": "${REVISION}",
            "created": "${CREATED}",
            **dict.fromkeys(("source", "url", "documentation"), "${SOURCE}"),
            "base.name": "${BASE}",
        }

    def test_what_git_knows_is_told_to_the_build(self) -> None:
        arguments = {rest.rstrip("=") for name, rest in instructions() if name == "ARG" and rest.endswith("=")}
        assert set(of_git()) == arguments - {"EXTRA"}

    def test_what_is_copied_is_there_and_reaches_the_engine(self) -> None:
        ignore = (ROOT / ".dockerignore").read_text().splitlines()
        assert "*" in ignore
        kept = {line[1:] for line in ignore if line.startswith("!")}
        copied = {
            source
            for name, rest in instructions()
            if name == "COPY" and "--from" not in rest
            for source in rest.split()[:-1]
        }
        assert copied == kept
        assert all((ROOT / source).exists() for source in copied)
        needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "requirements.lock", "pipeline"}
        assert copied == needed | {f"requirements-{extra}.lock" for extra in PROJECT["optional-dependencies"]}
        assert not any(fnmatch("pipeline", line) for line in ignore if line not in ("*", "!pipeline"))

    def test_only_what_the_lock_names_is_installed(self) -> None:
        installed = [rest for name, rest in instructions() if name == "RUN" and "requirements" in rest]
        assert len(installed) == 2
        assert all("--require-hashes" in rest and "--only-binary=:all:" in rest for rest in installed)
        assert '"--no-build-isolation"' in (ROOT / "Dockerfile").read_text()
        assert "PIP_NO_DEPS=1" in (ROOT / "Dockerfile").read_text()

    def test_the_port_is_that_of_the_configuration(self) -> None:
        assert last("EXPOSE") == str(settings().web.port)

    def test_user_and_signal(self) -> None:
        assert last("USER") == f"{UID}:{UID}"
        assert f"--chown={UID}:{UID}" in (ROOT / "Dockerfile").read_text()
        assert last("STOPSIGNAL") == "SIGTERM"

    def test_no_shell_is_needed_to_run_it(self) -> None:
        final = instructions()[[name for name, _ in instructions()].index("FROM", 2) :]
        assert not [rest for name, rest in final if name == "RUN"]
        for name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(last(name)))


class TestCommands:
    @pytest.mark.parametrize(("where", "command"), [*commands()], ids=lambda value: value if type(value) is str else "")
    def test_the_command_line_takes_them(self, where: str, command: list[str]) -> None:
        group: Any = typer.main.get_command(app)
        name, *rest = command
        context = group.commands[name].make_context(name, list(rest))
        if "config" in context.params:
            assert str(context.params["config"]) == CONFIG

    def test_which_do_what(self) -> None:
        by_place = dict(commands())
        health = ["health", "--config", CONFIG]
        serve = ["serve", "--config", CONFIG]
        assert by_place == {
            "CMD": serve,
            "HEALTHCHECK": health,
            "compose sandbox": ["sandbox", "--port", "8181"],
            "Deployment args": serve,
            "Deployment startupProbe": health,
            "Deployment livenessProbe": health,
            "CronJob args": ["serve", "--drain", "--config", CONFIG],
        }


class TestConfiguration:
    def test_its_directories_are_the_volumes(self) -> None:
        ours = settings()
        volumes = {str(ours.drop.directory), str(ours.state.directory)}
        assert set(json.loads(last("VOLUME"))) == volumes
        for name in ("profile-pipeline", "trial"):
            mounts = [volume.split(":") for volume in COMPOSE["services"][name]["volumes"]]
            assert {mount[1] for mount in mounts if len(mount) == 2} == volumes
            assert [mount[1:] for mount in mounts if len(mount) == 3] == [[CONFIG, "ro"]]
            assert {mount[0] for mount in mounts if len(mount) == 2} <= set(COMPOSE["volumes"])

    def test_the_tokens_are_where_the_secrets_are(self) -> None:
        tokens = [settings().target.token_file, settings().web.token_file]
        assert {str(token.parent) for token in tokens if token} == {"/run/secrets"}, "where Compose puts them"
        names = [token.name for token in tokens if token]
        assert COMPOSE["services"]["profile-pipeline"]["secrets"] == names
        assert {name: secret["file"] for name, secret in COMPOSE["secrets"].items()} == {
            name: f"./{name}" for name in names
        }
        assert "config/*-token" in (ROOT / ".gitignore").read_text().splitlines(), "nobody commits one"

    def test_running_posts_get_their_grace(self) -> None:
        grace_s = settings().service.grace_s
        for name in ("profile-pipeline", "trial"):
            assert seconds(COMPOSE["services"][name]["stop_grace_period"]) >= grace_s + MARGIN_S
        assert settings("sandbox.toml").service.grace_s <= grace_s

    def test_the_trial_finds_its_sandbox(self) -> None:
        trial, sandbox = COMPOSE["services"]["trial"], COMPOSE["services"]["sandbox"]
        assert all(name.startswith(ENV_PREFIX) for name in trial["environment"])
        tried = settings("sandbox.toml", trial["environment"])
        assert tried.target.url == f"http://127.0.0.1:{sandbox['command'][-1]}"
        assert trial["network_mode"] == "service:sandbox"
        ours = settings()
        assert (tried.drop.directory, tried.state.directory) == (ours.drop.directory, ours.state.directory)
        assert tried.export.id_column == "customer_id"


class TestHardening:
    @pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
    def test_compose(self, name: str) -> None:
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert (service["tmpfs"], service["mem_limit"]) == (["/tmp"], "1g")
        assert service["pids_limit"] >= 100, "worker threads count too"
        assert not {"privileged", "cap_add"} & set(service)
        assert int(service["user"].partition(":")[0]) > 0
        assert (service["user"] == last("USER")) == (name in OURS)
        assert service.get("healthcheck", {}) == ({"disable": True} if name == "sandbox" else {})

    def test_ports_are_those_of_this_machine(self) -> None:
        for service in COMPOSE["services"].values():
            for port in service.get("ports", ()):
                outside, _, inside = port.rpartition(":")
                assert outside == f"127.0.0.1:{inside}"
        assert COMPOSE["services"]["profile-pipeline"]["ports"][0].endswith(f":{settings().web.port}")


class TestMonitoring:
    def test_it_is_there_for_whoever_asks_for_it(self) -> None:
        assert {*OURS, *BESIDE} == set(COMPOSE["services"])
        for name in BESIDE:
            service = COMPOSE["services"][name]
            assert service["profiles"] == ["monitoring"]
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"]), "a version, whatever comes"
        assert "profiles" not in COMPOSE["services"]["profile-pipeline"], "what it looks at"

    def test_what_is_mounted_is_there(self) -> None:
        mounts = [volume.split(":") for name in BESIDE for volume in COMPOSE["services"][name]["volumes"]]
        for source, _, *mode in mounts:
            if source.startswith("./"):
                assert mode == ["ro"]
                assert (ROOT / "config" / source).is_file(), source
            else:
                assert source in COMPOSE["volumes"]

    def test_prometheus_finds_the_service_and_the_alerts(self) -> None:
        config = monitoring("prometheus.yaml")
        (job,) = config["scrape_configs"]
        ((target,),) = [static["targets"] for static in job["static_configs"]]
        assert target == f"profile-pipeline:{settings().web.port}", "a service of Compose, at its port"
        assert "metrics_path" not in job, "/metrics by default"
        mounted = mounted_at("prometheus")
        assert (
            f"--config.file={mounted['./monitoring/prometheus.yaml']}" in COMPOSE["services"]["prometheus"]["command"]
        )
        assert config["rule_files"] == [mounted["./prometheus-alerts.yaml"]]
        alerts = (ROOT / "config" / "prometheus-alerts.yaml").read_text()
        assert f'job="{job["job_name"]}"' in alerts

    @pytest.mark.skipif(
        shutil.which("promtool") is None, reason="no promtool here (Debian: apt-get install prometheus)"
    )
    def test_prometheus_takes_its_configuration(self) -> None:
        file = ROOT / "config" / "monitoring" / "prometheus.yaml"
        subprocess.run(["promtool", "check", "config", "--syntax-only", str(file)], check=True, capture_output=True)

    def test_grafana_finds_prometheus_and_the_dashboard(self) -> None:
        mounted, grafana = mounted_at("grafana"), COMPOSE["services"]["grafana"]
        provisioning = "/etc/grafana/provisioning"
        assert mounted["./monitoring/grafana-datasources.yaml"].startswith(f"{provisioning}/datasources/")
        assert mounted["./monitoring/grafana-dashboards.yaml"].startswith(f"{provisioning}/dashboards/")
        (source,) = monitoring("grafana-datasources.yaml")["datasources"]
        port = COMPOSE["services"]["prometheus"]["ports"][0].rpartition(":")[2]
        assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", f"http://prometheus:{port}", True)
        (provider,) = monitoring("grafana-dashboards.yaml")["providers"]
        dashboard = PurePosixPath(mounted["./grafana-dashboard.json"])
        assert provider["options"]["path"] == str(dashboard.parent)
        assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(dashboard)
        assert all(type(value) is str for value in grafana["environment"].values()), "Compose refuses true and false"


def monitoring(name: str) -> dict[str, Any]:
    """A file of `config/monitoring`."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "config" / "monitoring" / name).read_text())
    return content


def mounted_at(service: str) -> dict[str, str]:
    """Where each file is mounted into a service."""
    return dict(volume.split(":")[:2] for volume in COMPOSE["services"][service]["volumes"])


def has_compose() -> bool:
    """True if there is a client of Docker Compose."""
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode


@pytest.mark.skipif(not has_compose(), reason="no Docker Compose here")
def test_compose_takes_its_file() -> None:
    command = ["docker", "compose", "--file", "config/compose.yaml", "--profile", "*", "config", "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
