"""What the container files say, held against what the product says: nothing in them may drift.

`make image` tries the image itself, where there is an engine.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from packaging.specifiers import SpecifierSet

from pipeline import __version__
from pipeline.cli.app import app
from pipeline.core.errors import ExitCode
from pipeline.service.health import STALE_AFTER_S
from pipeline.settings.settings import ENV_PREFIX, Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIG = "/etc/profile-pipeline/config.toml"
UID = 10001
#: At least so much longer than [service] grace_s a container is given to end (seconds).
MARGIN_S = 10.0
#: After these, the next try may go better without anybody's help, or goes on where this one was.
WORTH_A_TRY = {
    ExitCode.TARGET_UNAVAILABLE,
    ExitCode.ALREADY_RUNNING,
    ExitCode.DISK_OR_LEDGER,
    ExitCode.UNFINISHED,
}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, an instruction a piece."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]


def last(name: str) -> str:
    return [rest for instruction, rest in instructions() if instruction == name][-1]


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "config" / "kubernetes.yaml").read_text()))
CONTAINER_TOML = ROOT / "config" / "container.toml"


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [resource for resource in KUBERNETES if resource["kind"] == kind]


def pods() -> dict[str, dict[str, Any]]:
    """The pod's spec of the Deployment and of the CronJob."""
    (deployment,), (cron,) = of_kind("Deployment"), of_kind("CronJob")
    job = cron["spec"]["jobTemplate"]["spec"]
    return {"Deployment": deployment["spec"]["template"]["spec"], "CronJob": job["template"]["spec"]}


def container_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return dict(container)


def settings(file: str = "container.toml", env: Mapping[str, str] | None = None) -> Settings:
    return load_settings(ROOT / "config" / file, env=env or {})


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    assert match, text
    return float(match[1])


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in these files, and where it stands."""
    yield "CMD", json.loads(last("CMD"))
    program, *probe = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert [program] == json.loads(last("ENTRYPOINT"))
    yield "HEALTHCHECK", probe
    for name, service in COMPOSE["services"].items():
        if "command" in service:
            yield f"compose {name}", service["command"]
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
        base, extra = [rest for name, rest in instructions() if name == "ARG"]
        assert extra == "EXTRA="
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
        }

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
        for pod in pods().values():
            at = {mount["mountPath"]: mount for mount in container_of(pod)["volumeMounts"]}
            writable = {path for path, mount in at.items() if not mount.get("readOnly")}
            assert writable == {*volumes, "/tmp"}
            assert {mount["name"] for mount in at.values()} == {volume["name"] for volume in pod["volumes"]}

    def test_the_config_map_is_the_file(self) -> None:
        (config_map,) = of_kind("ConfigMap")
        assert config_map["data"] == {PurePosixPath(CONFIG).name: CONTAINER_TOML.read_text()}
        for pod in pods().values():
            (mount,) = [mount for mount in container_of(pod)["volumeMounts"] if mount["name"] == "config"]
            (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "config"]
            assert mount["mountPath"] == str(PurePosixPath(CONFIG).parent)
            assert volume["configMap"]["name"] == config_map["metadata"]["name"]

    def test_the_token_is_where_the_secret_is(self) -> None:
        token = settings().target.token_file
        assert token is not None
        assert str(token.parent) == "/run/secrets", "where Compose puts them"
        assert COMPOSE["services"]["profile-pipeline"]["secrets"] == [token.name]
        assert set(COMPOSE["secrets"]) == {token.name}
        assert f"--from-file={token.name}=" in (ROOT / "config" / "kubernetes.yaml").read_text()
        for pod in pods().values():
            (mount,) = [mount for mount in container_of(pod)["volumeMounts"] if mount["name"] == "secrets"]
            (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
            assert mount["mountPath"] == str(token.parent)
            assert volume["secret"]["defaultMode"] == 0o440
            assert not pod["automountServiceAccountToken"], "it would be mounted below the same directory"

    def test_running_posts_get_their_grace(self) -> None:
        grace_s = settings().service.grace_s
        for pod in pods().values():
            assert pod["terminationGracePeriodSeconds"] >= grace_s + MARGIN_S
        for name in ("profile-pipeline", "trial"):
            assert seconds(COMPOSE["services"][name]["stop_grace_period"]) >= grace_s + MARGIN_S
        assert settings("sandbox.toml").service.grace_s <= grace_s

    def test_there_is_room_for_what_must_stay_free(self) -> None:
        (state,) = [claim for claim in of_kind("PersistentVolumeClaim") if claim["metadata"]["name"].endswith("state")]
        size = re.fullmatch(r"(\d+)Gi", state["spec"]["resources"]["requests"]["storage"])
        assert size
        assert int(size[1]) * 2**30 > 2 * settings().state.min_free_bytes

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
        assert service["user"] == last("USER")
        assert service["read_only"] is True
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert (service["tmpfs"], service["mem_limit"]) == (["/tmp"], "1g")
        assert service["pids_limit"] >= 100, "worker threads count too"
        assert not {"privileged", "cap_add", "ports"} & set(service)
        assert service.get("healthcheck", {}) == ({"disable": True} if name == "sandbox" else {})

    @pytest.mark.parametrize("kind", sorted(pods()))
    def test_kubernetes(self, kind: str) -> None:
        pod = pods()[kind]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = container_of(pod)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert container["image"] == f"profile-pipeline:{__version__}"


class TestKubernetes:
    @pytest.mark.parametrize("resource", KUBERNETES, ids=lambda resource: resource["kind"])
    def test_the_schema(self, resource: dict[str, Any]) -> None:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)

    def test_never_two_at_once(self) -> None:
        (deployment,), (cron,) = of_kind("Deployment"), of_kind("CronJob")
        assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
        assert cron["spec"]["concurrencyPolicy"] == "Forbid"
        assert cron["spec"]["suspend"] is True, "the Deployment serves already"

    def test_which_ends_are_worth_a_try(self) -> None:
        """Every exit code is either tried again or ends the Job: a new one has to be put somewhere."""
        (cron,) = of_kind("CronJob")
        job = cron["spec"]["jobTemplate"]["spec"]
        (on_exit,) = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        assert on_exit["action"] == "FailJob"
        assert on_exit["onExitCodes"]["operator"] == "In"
        assert on_exit["onExitCodes"]["containerName"] == container_of(pods()["CronJob"])["name"]
        ends_it = on_exit["onExitCodes"]["values"]
        assert ends_it == sorted(set(ExitCode) - WORTH_A_TRY - {ExitCode.DONE})
        page = (ROOT / "docs" / "container.md").read_text()
        assert f"| {' '.join(str(int(code)) for code in sorted(WORTH_A_TRY))}, and signals | tries again" in page
        assert f"| {' '.join(map(str, ends_it))} | fails at once" in page
        assert pods()["CronJob"]["restartPolicy"] == "Never", "podFailurePolicy wants it so"
        assert job["backoffLimit"] > 0

    def test_probes_are_patient_enough(self) -> None:
        container = container_of(pods()["Deployment"])
        startup, liveness = container["startupProbe"], container["livenessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 2 * STALE_AFTER_S
        assert liveness["failureThreshold"] >= 3
        assert all(probe["timeoutSeconds"] >= 10 for probe in (startup, liveness)), "the machine may be busy"
        assert "readinessProbe" not in container, "nobody calls it"
