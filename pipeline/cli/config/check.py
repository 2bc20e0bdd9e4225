"""Checks what a configuration needs to work: state directory, disk, token, and the way to Target.

Nothing is sent to Target: the connection is opened, secured and closed. Every check yields a finding,
good ones too, so that silence never passes for success. No finding shows the token.
"""

import asyncio
import os
import shutil
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.cli.config.mapping_check import Verdict, check_mapping
from pipeline.cli.config.notify_check import check_expect, check_notify
from pipeline.cli.config.web_check import check_web
from pipeline.core.errors import ConfigurationError, FatalError
from pipeline.core.target.hosts import is_loopback
from pipeline.core.target.token_life import days_left, is_ending
from pipeline.core.target.token_life import in_words as in_words_of_token
from pipeline.edges.secrets import open_secret, readable_by_others
from pipeline.edges.store.ledger_file import owner_of
from pipeline.edges.target.token_file import MAX_TOKEN_BYTES, token_problem
from pipeline.edges.target.window_limits import in_words
from pipeline.settings.sections.base import DAY_S
from pipeline.settings.sections.engine import TARGET_CALLS_PER_MINUTE, StateSettings, TargetSettings
from pipeline.settings.sections.memory import PROFILE_DAYS
from pipeline.settings.sections.windows import schedule_of
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds for name, connection and handshake together.
CONNECT_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: its subject, a verdict, and in words what was found and what to do."""

    subject: str
    verdict: Verdict
    text: str


def print_findings(findings: Sequence[Finding], console: "Console") -> None:
    """Print findings for people, one a line."""
    from rich.text import Text

    colors = {"ok": "green", "warning": "yellow", "problem": "red"}
    for each in findings:
        line = Text.assemble(
            (f"{each.verdict:>8}", colors[each.verdict]), "  ", (each.subject, "bold"), f": {each.text}"
        )
        console.print(line, soft_wrap=True)


async def check_all(configuration: Configuration, *, is_to_notify: bool = False) -> list[Finding]:
    """All findings of all routes, each with the name of its route; settings of a client code are checked once.

    `is_to_notify`: send a test to each webhook.
    """
    of_web = [Finding(*told) for told in await asyncio.to_thread(check_web, configuration)]
    if not configuration.has_routes:
        settings = configuration.tenants[0].settings
        of_telling = await _check_telling(settings, DEFAULT_ROUTE, is_to_notify=is_to_notify)
        return [*await check(settings), *of_telling, *of_web]
    findings: list[Finding] = []
    for tenant in configuration.tenants:
        for number, (name, settings) in enumerate(tenant.routes.items()):
            found = await check(settings) if number == 0 else await check_route(settings)
            found += await _check_telling(settings, name, is_to_notify=is_to_notify)
            findings += [replace(finding, subject=f"{name}: {finding.subject}") for finding in found]
    return [*findings, *of_web]


async def check_route(settings: Settings) -> list[Finding]:
    """The findings about settings that each route has for itself."""
    return [
        *_check_combinations(settings),
        *await asyncio.to_thread(_check_mapping, settings),
        *await asyncio.to_thread(_check_drop, settings.drop.directory),
    ]


async def check(
    settings: Settings, *, ssl_context: ssl.SSLContext | None = None, connect_limit_s: float = CONNECT_LIMIT_S
) -> list[Finding]:
    """All findings, in the order of the configuration; `ssl_context`: the certificates to trust."""
    target, now = settings.target, datetime.now(UTC)
    host = urlsplit(target.url).hostname or ""
    return [
        *_check_combinations(settings),
        *_check_windows(settings, now),
        await asyncio.to_thread(_check_token, target.token_file, is_local=is_loopback(host)),
        *_check_expiry(target, now.date()),
        await _check_connection(target, ssl_context, connect_limit_s),
        *await asyncio.to_thread(_check_drop, settings.drop.directory),
        *await asyncio.to_thread(_check_outcomes, settings.drop.outcome_directory),
        *await asyncio.to_thread(_check_state, settings.state),
        *await asyncio.to_thread(_check_mapping, settings),
    ]


async def _check_telling(settings: Settings, route: str, *, is_to_notify: bool) -> list[Finding]:
    found = check_expect(settings, datetime.now(UTC))
    found += await check_notify(settings, route, is_to_send=is_to_notify)
    return [Finding(subject, verdict, text) for subject, verdict, text in found]


def _check_combinations(settings: Settings) -> list[Finding]:
    target = settings.target
    findings = []
    if settings.export.id_kind == "pcId" and target.api_version == "v2":
        text = (
            "pcId does not work with v2 where the site uses the Experience Cloud ID (ECID): "
            'set [target] api_version = "v1", or send the thirdPartyId'
        )
        findings.append(Finding("[export] id_kind", "warning", text))
    memory = settings.memory
    if memory.send == "changes" and memory.refresh_days >= PROFILE_DAYS:
        text = (
            f"a row that says nothing new is sent again after {memory.refresh_days:g} days, and Target forgets a "
            f"profile after {PROFILE_DAYS} days without activity, unless your account has another time: set it below"
        )
        findings.append(Finding("[memory] refresh_days", "warning", text))
    rate = target.calls_per_minute
    if rate > TARGET_CALLS_PER_MINUTE and not is_loopback(urlsplit(target.url).hostname or ""):
        text = (
            f"{rate} calls per minute, but Target answers 503 above {TARGET_CALLS_PER_MINUTE} of all senders "
            f"of a client code together: set it to {TARGET_CALLS_PER_MINUTE} or less"
        )
        findings.append(Finding("[target] calls_per_minute", "warning", text))
    return findings


def _check_mapping(settings: Settings) -> list[Finding]:
    return [Finding(subject, verdict, text) for subject, verdict, text in check_mapping(settings)]


def _check_windows(settings: Settings, now: datetime) -> list[Finding]:
    if not settings.windows:
        return []
    schedule = schedule_of(settings.windows)
    pause_s = schedule.longest_pause_s(now)
    if pause_s > DAY_S:
        text = (
            f"sending pauses for {pause_s / 3_600:,.0f} hours on end, and Target keeps a status for 24 hours at most: "
            "what it accepts right before ends unconfirmed. A window with calls_per_minute = 1 instead of pause = true "
            "lets statuses be asked for"
        )
        return [Finding("[[windows]]", "warning", text)]
    return [Finding("[[windows]]", "ok", f"now: {in_words(schedule.at(now))}")]


def _check_expiry(target: TargetSettings, today: date) -> list[Finding]:
    subject, expires = "[target] token_expires", target.token_expires
    if expires is None:
        return []
    if target.token_file is None:
        return [Finding(subject, "warning", f"{expires}, but there is no token: set [target] token_file too")]
    text = f"the token {in_words_of_token(expires, today)}"
    if not is_ending(expires, today):
        return [Finding(subject, "ok", text)]
    verdict: Verdict = "problem" if days_left(expires, today) < 0 else "warning"
    return [Finding(subject, verdict, f"{text}: make a new one in Target, put it into token_file, and set this anew")]


def _check_token(file: Path | None, *, is_local: bool) -> Finding:
    subject = "[target] token_file"
    if file is None:
        text = (
            'none: calls carry no token, which works only while "Require Authentication" is off in Target '
            "(Administration > Implementation > Profile API); then everybody who knows the client code can send"
        )
        # On loopback is the sandbox.
        return Finding(subject, "ok" if is_local else "warning", text)
    try:
        token, info = open_secret(file, MAX_TOKEN_BYTES)
    except OSError as error:
        text = f"{file} cannot be read ({error.strerror}); create it, or let this user read it"
        return Finding(subject, "problem", text)
    if token is None:
        return Finding(subject, "problem", f"{file} is not a file; name the file that holds the token")
    if problem := token_problem(token):
        return Finding(subject, "problem", f"{file} {problem}")
    if advice := readable_by_others(file, info):
        return Finding(subject, "warning", advice)
    return Finding(subject, "ok", f"{file} holds a token")


async def _check_connection(target: TargetSettings, context: ssl.SSLContext | None, limit_s: float) -> Finding:
    # Imported late: this is the library that calls Target.
    from aiohttp import ClientError

    from pipeline.edges.target.proxy import proxy_for
    from pipeline.edges.target.reach import reach
    from pipeline.edges.target.session import wrong_with_connection

    parts = urlsplit(target.url)
    secure = parts.scheme == "https"
    where = f"{parts.hostname}:{parts.port or (443 if secure else 80)}"
    try:
        proxy = proxy_for(target.url)
    except ConfigurationError as error:
        return Finding("[target] base_url", "problem", str(error))
    through = f" through the proxy {proxy.url.removeprefix('http://')}" if proxy else ""
    try:
        await reach(target.url, tls=context, ca_file=target.ca_file, is_named=bool(target.base_url), limit_s=limit_s)
    except ConfigurationError as error:
        return Finding("[target] ca_file", "problem", str(error))
    except (OSError, ClientError, ValueError) as error:
        key = "base_url" if target.base_url else "client_code"
        told = wrong_with_connection(error) or f"{_connection_problem(error, limit_s)}, if [target] {key} is right"
        text = f"{where}{through}: {told}"
        return Finding("[target] base_url", "problem", text)
    text = "connected over TLS, its certificate is trusted" if secure else "connected, without TLS"
    return Finding("[target] base_url", "ok", f"{where}: {text}{through}")


def _connection_problem(error: Exception, limit_s: float) -> str:
    """The problem in words, and where to look. The classes overlap, so the order of the cases matters."""
    import aiohttp

    match error:
        case TimeoutError():
            return f"no answer within {limit_s:g} s; see whether a firewall lets this machine out"
        case _:
            reason = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            # A server that ends the connection before TLS is agreed upon leaves an error without a word.
            words = str(reason) or "it was closed while it was made"
            return f"no connection ({words}); see whether it runs and a firewall lets this machine out"


def _check_drop(directory: Path | None) -> list[Finding]:
    subject = "[drop] directory"
    if directory is None:
        return []
    try:
        where = directory.absolute()
        _probe(where)
        mode = directory.stat().st_mode
    except OSError as error:
        text = f"{directory} cannot be used: {error.strerror}; exports are taken by renaming them, give write access"
        return [Finding(subject, "problem", text)]
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        text = (
            f"{where} can be written by other users, who may move and replace each other's exports and "
            f".processing (mode {stat.S_IMODE(mode):04o}): chmod +t {where}"
        )
        return [Finding(subject, "warning", text)]
    return [Finding(subject, "ok", f"{where} can be written")]


def _check_outcomes(directory: Path | None) -> list[Finding]:
    if directory is None or not directory.is_dir():
        return []
    where, mode = directory.absolute(), directory.stat().st_mode
    if not mode & (stat.S_IWGRP | stat.S_IWOTH) or mode & stat.S_ISVTX:
        return []
    text = (
        f"{where} can be written by other users, who may move and replace the folders of jobs "
        f"(mode {stat.S_IMODE(mode):04o}): chmod +t {where}"
    )
    return [Finding("[drop] outcome_directory", "warning", text)]


def _check_state(state: StateSettings) -> list[Finding]:
    subject = "[state] directory"
    directory = state.directory
    try:
        directory = directory.absolute()
        exists = directory.exists() or directory.is_symlink()
        probed = directory if exists else next(above for above in directory.parents if above.exists())
        _probe(probed)
        free_bytes = shutil.disk_usage(probed).free
    except OSError as error:
        where = error.filename or directory
        text = f"{directory} cannot be used: {error.strerror} ({where}); name another, or give write access"
        return [Finding(subject, "problem", text)]
    try:
        owner_of(directory / "ledger.db")
    except FatalError as error:
        return [Finding(subject, "problem", str(error))]
    text = f"{directory} can be written" if exists else f"{directory} does not exist yet and can be created"
    return [Finding(subject, "ok", text), _compare_free_bytes(probed, free_bytes, state.min_free_bytes)]


def _probe(directory: Path) -> None:
    """Create a directory with a file and remove both, as ledger and spool need to. Raises `OSError`."""
    with (
        TemporaryDirectory(prefix=".config-check-", dir=directory) as made,
        (Path(made) / "probe").open("wb") as file,
    ):
        file.write(b"probe")
        file.flush()
        os.fsync(file.fileno())


def _compare_free_bytes(disk: Path, free_bytes: int, min_free_bytes: int) -> Finding:
    subject = "[state] min_free_bytes"
    if free_bytes < min_free_bytes:
        text = f"{free_bytes:,} bytes are free at {disk}, {min_free_bytes:,} are needed; make room, or lower it"
        return Finding(subject, "problem", text)
    return Finding(subject, "ok", f"{free_bytes:,} bytes are free at {disk}, {min_free_bytes:,} are needed")
