"""Builds the image and tries it: `python -m tests.tools.image` or `make image`. It needs podman or docker.

Containers run as docs/container.md says: read-only root, user 10001, no capabilities, limits of memory and processes,
no network but each other; and without a shell, which is covered by an empty file. `--base` names another base image.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "/etc/profile-pipeline/config.toml"
HARDENED = (
    *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--memory=512m", "--pids-limit=64"),
)
SHELLS = ("/usr/bin/dash", "/usr/bin/bash")
#: The configuration of config/container.toml, turned to the sandbox, and in a hurry.
ENV = {
    "TARGET__CLIENT_CODE": "demo",
    "TARGET__BASE_URL": "http://127.0.0.1:8181",
    "SETTLE__POLL_FIRST_S": "0.2",
    "DROP__POLL_S": "0.2",
    "STATE__MIN_FREE_BYTES": "0",
}
#: Run with the drop directory, by the interpreter of the image: an export, and behind it its signal.
DROP = (
    "from pathlib import Path; drop = Path('/data/drop'); "
    "(drop / 'customers.csv').write_text('customer_id,tier\\nu1,gold\\nu2,\\n'); (drop / 'customers.csv.ready').touch()"
)
#: Run the same way: what the service shows by HTTP, the last of it not without the token.
LOOK = (
    "from http.client import HTTPConnection\n"
    "def status(path):\n"
    "    connection = HTTPConnection('127.0.0.1', 8080)\n"
    "    connection.request('GET', path)\n"
    "    return connection.getresponse().status\n"
    "print(*map(status, ('/healthz', '/readyz', '/metrics', '/status')))"
)
#: Whatever is waited for comes within this (seconds).
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and its stdout."""

    code: int
    out: str


class Image:
    """An image that is built, and how containers of it are run here."""

    def __init__(self, engine: str, name: str, folder: Path) -> None:
        self.engine, self.name = engine, name
        empty = folder / "empty"
        empty.touch()
        self._files = {ROOT / "config" / "container.toml": CONFIG}
        for name in ("target-token", "web-token"):
            (folder / name).write_text("a-token-of-a-test\n")
            self._files[folder / name] = f"/run/secrets/{name}"
        self._files_over_shells = [f"--volume={empty}:{shell}:ro" for shell in SHELLS]

    def call(self, *arguments: str) -> Ran:
        """Call the engine; what it writes to stderr is shown."""
        done = subprocess.run([self.engine, *arguments], stdout=subprocess.PIPE, text=True, check=False)
        return Ran(done.returncode, done.stdout.strip())

    def run(self, *command: str, options: tuple[str, ...] = ("--rm",)) -> Ran:
        """Run a container: `options`, the hardened ones and the image's name, then the command."""
        network = () if any("--network" in option for option in options) else ("--network=none",)
        return self.call("run", *options, *network, *HARDENED, *self._files_over_shells, self.name, *command)

    def with_volumes(self, place: str) -> tuple[str, ...]:
        """Options: the volumes of this name, configuration and secret."""
        return (
            *(f"--volume={place}-{name}:/data/{name}" for name in ("drop", "state")),
            *(f"--volume={file}:{inside}:ro" for file, inside in self._files.items()),
            *(f"--env=PROFILE_PIPELINE__{name}={value}" for name, value in ENV.items()),
        )


def build(options: Namespace) -> None:
    """Build the image of this tree."""
    base = [f"--build-arg=BASE={options.base}"] if options.base else []
    # The health check is no part of the OCI format.
    docker_format = ["--format=docker"] if Path(options.engine).name == "podman" else []
    labels = [f"--build-arg={name}={value}" for name, value in of_git().items()]
    command = [options.engine, "build", *docker_format, *base, *labels, *options.build_option, "--tag", options.name]
    subprocess.run([*command, str(ROOT)], check=True)


def of_git() -> dict[str, str]:
    """The arguments of the build that git knows: where the sources are, at which commit, of when; empty without git."""

    def git(*arguments: str) -> str:
        try:
            command = ["git", "-C", str(ROOT), *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    # With a password in it, or on this machine only, it is nothing to tell.
    source = re.match(r"https://[^@/\s]+/\S+?(?=\.git$|$)", git("remote", "get-url", "origin"))
    return {
        "SOURCE": source[0] if source else "",
        "REVISION": git("rev-parse", "HEAD"),
        "CREATED": git("log", "-1", "--format=%cI"),
    }


def check_demo(image: Image) -> None:
    """The whole product runs in it."""
    for shell in SHELLS:
        assert image.run(options=("--rm", f"--entrypoint={shell}")).code != 0, f"{shell} is there"
    assert image.run("--version").out.startswith("profile-pipeline ")
    done = image.run("demo")
    assert done.code == 0, done
    assert "Older values over newer ones, clashes, mistakes in what was sent: 0." in done.out
    assert image.run().code == 78, "without a configuration it must say so"


def check_service(image: Image, place: str) -> None:
    """It serves, tells how it is, stops when told, and goes on after it was killed."""
    (inspected,) = orjson.loads(image.call("image", "inspect", image.name).out)
    settings = inspected["Config"]
    assert (settings["User"], settings["StopSignal"]) == ("10001:10001", "SIGTERM"), settings
    assert list(settings["ExposedPorts"]) == ["8080/tcp"], settings
    assert settings["Labels"]["org.opencontainers.image.revision"] == of_git()["REVISION"], settings
    # Each engine has it in a place of its own.
    health = settings.get("Healthcheck") or inspected["Healthcheck"]
    probe = tuple(health["Test"][1:])
    assert probe == ("profile-pipeline", "health", "--config", CONFIG), probe
    volumes = image.with_volumes(place)

    def health_of_volume() -> Ran:
        return image.run(*probe[1:], options=("--rm", *volumes))

    assert health_of_volume().code == 1
    with running(image, f"{place}-sandbox", "sandbox") as sandbox:
        network = f"--network=container:{sandbox}"
        with running(image, f"{place}-service", options=(*volumes, network)) as service:
            until("health", lambda: image.call("exec", service, *probe).code == 0)
            print(image.call("exec", service, *probe).out)
            assert image.call("exec", service, "python3", "-c", LOOK).out == "200 200 200 401"
            dropped = image.run("-c", DROP, options=("--rm", *volumes, "--entrypoint=python3"))
            assert dropped.code == 0, dropped
            until("the job", lambda: states_of_jobs(image, service) == ["done"])
            assert image.run("config", "check", "--config", CONFIG, options=("--rm", *volumes, network)).code == 0
            assert image.run("serve", "--config", CONFIG, options=("--rm", *volumes, network)).code == 73
            check_end(image, service, "stop", "--time=60", code=0)
            assert health_of_volume().code == 1
            image.call("start", service)
            until("health after the stop", lambda: image.call("exec", service, *probe).code == 0)
            check_end(image, service, "kill", "--signal=KILL", code=137)
            assert health_of_volume().code == 1, "what a killed process left must not pass for life"
            image.call("start", service)
            until("health after the kill", lambda: image.call("exec", service, *probe).code == 0)
            assert states_of_jobs(image, service) == ["done"]
            check_end(image, service, "stop", "--time=60", code=0)
            drained = image.run("serve", "--drain", "--config", CONFIG, options=("--rm", *volumes, network))
            assert drained.code == 0, drained


def states_of_jobs(image: Image, service: str) -> list[str]:
    """How the jobs of a running service stand."""
    told = image.call("exec", service, "profile-pipeline", "status", "--config", CONFIG, "--json")
    return [job["state"] for job in orjson.loads(told.out)["jobs"]] if told.code == 0 else []


def check_end(image: Image, container: str, *how: str, code: int) -> None:
    """It ends, by itself where it is asked to, with this code."""
    started = time.monotonic()
    image.call(*how, container)
    ended = image.call("wait", container).out
    print(f"{how[0]}: ended with {ended} after {time.monotonic() - started:.1f} s")
    assert ended == str(code), image.call("logs", container).out


@contextmanager
def running(image: Image, name: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """A container of this name in the background."""
    started = image.run(*command, options=("--detach", f"--name={name}", *options))
    assert started.code == 0, started
    try:
        yield name
    finally:
        image.call("rm", "--force", name)


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    gives_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > gives_up_at:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.2)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default=shutil.which("podman") or shutil.which("docker"))
    parser.add_argument("--base", default="", help="base image with Python, default: that of the Dockerfile")
    parser.add_argument("--name", default="profile-pipeline")
    parser.add_argument("--build-option", action="append", default=[], help="of the engine's build command")
    options = parser.parse_args()
    if not options.engine:
        sys.exit("neither podman nor docker is there: install one, or name another with --engine")
    build(options)
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-image-") as folder:
        # Files in it are mounted, and read by another user.
        Path(folder).chmod(0o755)
        image, place = Image(options.engine, options.name, Path(folder)), Path(folder).name
        check_demo(image)
        try:
            check_service(image, place)
        finally:
            image.call("volume", "rm", "--force", f"{place}-drop", f"{place}-state")
    print(f"{options.name}: built and tried: demo, serve, health, stop, kill, drain")


if __name__ == "__main__":
    main()
