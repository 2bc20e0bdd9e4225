"""The manifests of `config/kubernetes`, as kustomize gives them to a cluster, held against what the product says."""

import re
from pathlib import PurePosixPath
from typing import Any

import kubernetes_validate
import pytest

from pipeline import __version__
from pipeline.core.errors import ExitCode
from pipeline.service.health import STALE_AFTER_S
from tests.tools.container_files import (
    CONFIG,
    KUBERNETES,
    MARGIN_S,
    ROOT,
    UID,
    container_of,
    manifests,
    of_kind,
    pods,
    settings,
)

FOLDERS = ("base", "production")
#: After these, the next try may go better without anybody's help, or goes on where this one was.
WORTH_A_TRY = {
    ExitCode.TARGET_UNAVAILABLE,
    ExitCode.ALREADY_RUNNING,
    ExitCode.DISK_OR_LEDGER,
    ExitCode.UNFINISHED,
}
RESOURCES = [(folder, resource) for folder in FOLDERS for resource in manifests(folder)]


def named(kind: str, name: str, folder: str = "base") -> dict[str, Any]:
    (resource,) = [each for each in of_kind(kind, folder) if each["metadata"]["name"] == name]
    return resource


class TestEveryFolder:
    @pytest.mark.parametrize(
        ("folder", "resource"), RESOURCES, ids=[f"{folder} {each['kind']}" for folder, each in RESOURCES]
    )
    def test_the_schema(self, folder: str, resource: dict[str, Any]) -> None:
        if resource["apiVersion"].startswith("monitoring.coreos.com/"):
            # Of the Prometheus Operator: no part of Kubernetes.
            assert set(resource) == {"apiVersion", "kind", "metadata", "spec"}
            return
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_its_directories_are_the_volumes(self, folder: str) -> None:
        ours = settings(f"kubernetes/{folder}/config.toml")
        volumes = {str(ours.drop.directory), str(ours.state.directory)}
        claims = {claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim", folder)}
        for pod in pods(folder).values():
            at = {mount["mountPath"]: mount for mount in container_of(pod)["volumeMounts"]}
            writable = {path for path, mount in at.items() if not mount.get("readOnly")}
            assert writable == {*volumes, "/tmp"}
            assert {mount["name"] for mount in at.values()} == {volume["name"] for volume in pod["volumes"]}
            claimed = [
                volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
            ]
            assert {claim["claimName"] for claim in claimed} == claims

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_the_config_map_is_the_file(self, folder: str) -> None:
        (config_map,) = of_kind("ConfigMap", folder)
        name, text = PurePosixPath(CONFIG).name, (KUBERNETES / folder / "config.toml").read_text()
        assert config_map["data"] == {name: text}
        for pod in pods(folder).values():
            (mount,) = [mount for mount in container_of(pod)["volumeMounts"] if mount["name"] == "config"]
            (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "config"]
            assert mount["mountPath"] == str(PurePosixPath(CONFIG).parent)
            assert volume["configMap"]["name"] == config_map["metadata"]["name"], "also with the digest in it"

    def test_the_base_begins_as_any_container(self) -> None:
        begins = (ROOT / "config" / "container.toml").read_text()
        assert (KUBERNETES / "base" / "config.toml").read_text() == begins

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_the_tokens_are_where_the_secret_is(self, folder: str) -> None:
        ours = settings(f"kubernetes/{folder}/config.toml")
        kustomization = (KUBERNETES / folder / "kustomization.yaml").read_text()
        for token in (ours.target.token_file, ours.web.token_file):
            assert token is not None
            assert f"--from-file={token.name}=" in kustomization
            for pod in pods(folder).values():
                (mount,) = [mount for mount in container_of(pod)["volumeMounts"] if mount["name"] == "secrets"]
                (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
                assert mount["mountPath"] == str(token.parent)
                assert volume["secret"]["defaultMode"] == 0o440
                assert not pod["automountServiceAccountToken"], "it would be mounted below the same directory"

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_running_posts_get_their_grace(self, folder: str) -> None:
        grace_s = settings(f"kubernetes/{folder}/config.toml").service.grace_s
        for pod in pods(folder).values():
            assert pod["terminationGracePeriodSeconds"] >= grace_s + MARGIN_S

    @pytest.mark.parametrize("folder", FOLDERS)
    def test_there_is_room_for_what_must_stay_free(self, folder: str) -> None:
        state = named("PersistentVolumeClaim", "profile-pipeline-state", folder)
        size = re.fullmatch(r"(\d+)Gi", state["spec"]["resources"]["requests"]["storage"])
        assert size
        free_bytes = settings(f"kubernetes/{folder}/config.toml").state.min_free_bytes
        assert int(size[1]) * 2**30 > 2 * free_bytes

    @pytest.mark.parametrize("folder", FOLDERS)
    @pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
    def test_hardening(self, folder: str, kind: str) -> None:
        pod = pods(folder)[kind]
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
        assert container["image"].rpartition("/")[2] == f"profile-pipeline:{__version__}"


class TestRunning:
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
        assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(container_of(pods()["CronJob"]))

    def test_readiness_is_asked_for_by_http(self) -> None:
        container = container_of(pods()["Deployment"])
        (port,) = container["ports"]
        assert port == {"name": "http", "containerPort": settings().web.port}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
        assert re.search(r"(?m)^\| `/readyz` \|.*\| no \|$", (ROOT / "docs" / "web.md").read_text()), (
            "without the token"
        )
        assert settings().web.host == "0.0.0.0", "the kubelet asks at the pod's address"
        assert all("httpGet" not in container[probe] for probe in ("startupProbe", "livenessProbe")), "no port, no end"


class TestNetwork:
    def test_the_service_leads_to_the_deployment_alone(self) -> None:
        (service,), (deployment,), (cron,) = of_kind("Service"), of_kind("Deployment"), of_kind("CronJob")
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        of_cron = cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        selector = service["spec"]["selector"].items()
        assert selector <= labels.items()
        assert not selector <= of_cron.items()
        (port,) = service["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (settings().web.port, "http")
        assert service["spec"]["publishNotReadyAddresses"], "one that is not ready can be looked at"

    def test_nobody_reaches_it_by_default(self) -> None:
        (policy,) = of_kind("NetworkPolicy")
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        assert "ingress" not in policy["spec"]
        (deployment,) = of_kind("Deployment")
        assert policy["spec"]["podSelector"] == deployment["spec"]["selector"]

    def test_the_monitoring_namespace_reaches_the_port(self) -> None:
        policy = named("NetworkPolicy", "profile-pipeline-metrics", "production")
        (rule,) = policy["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
        (source,) = rule["from"]
        assert source == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        assert policy["spec"]["podSelector"] == of_kind("Deployment")[0]["spec"]["selector"]

    def test_what_is_scraped_is_the_service(self) -> None:
        (monitor,), (service,) = of_kind("ServiceMonitor", "production"), of_kind("Service", "production")
        assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["path"] == "/metrics"
        assert [endpoint["port"]] == [port["name"] for port in service["spec"]["ports"]]
        alerts = (ROOT / "config" / "prometheus-alerts.yaml").read_text()
        assert f'job="{service["metadata"]["name"]}"' in alerts, "the operator names the job after the service"
        assert re.search(r"(?m)^\| `/metrics` \|.*\| no \|$", (ROOT / "docs" / "web.md").read_text()), (
            "without the token"
        )


class TestProduction:
    def test_all_is_in_its_namespace(self) -> None:
        assert {each["metadata"]["namespace"] for each in manifests("production")} == {"profile-pipeline"}

    def test_the_image_comes_from_a_registry(self) -> None:
        images = {container_of(pod)["image"] for pod in pods("production").values()}
        assert images == {f"registry.example.com/profile-pipeline:{__version__}"}

    def test_it_has_all_that_the_base_has(self) -> None:
        def kinds(folder: str) -> list[str]:
            return sorted(each["kind"] for each in manifests(folder))

        assert sorted([*kinds("base"), "NetworkPolicy", "ServiceMonitor"]) == kinds("production")
