"""Looks at what [web] needs, for `config check`: a port that can be had, and a token nobody else can read or guess."""

import os
import socket
from pathlib import Path

from pipeline.cli.config.mapping_check import Told
from pipeline.core.errors import FatalError
from pipeline.edges.lock import holder
from pipeline.edges.secrets import readable_by_others
from pipeline.service.web.access import read_web_token
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.tenants import Configuration

#: Characters; a shorter token is told as one that can be guessed. Ours: 16 hexadecimal ones are 64 bits.
_SAFE_TOKEN_LENGTH = 16


def check_web(configuration: Configuration) -> list[Told]:
    """The findings about port and token; none where nothing is served. Blocks."""
    web = configuration.tenants[0].settings.web
    if not web.port or not any(tenant.drops for tenant in configuration.tenants):
        return []
    serving = next(filter(None, (holder(tenant.directory) for tenant in configuration.tenants)), None)
    found = [_check_port(web, serving)]
    return [*found, _check_token(web.token_file)] if web.token_file else found


def _check_port(web: WebSettings, serving: str | None) -> Told:
    subject, where = "[web] port", f"{web.host} port {web.port}"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        if serving:
            return subject, "ok", f"{where}: cannot be tried while process {serving} is at work"
        text = f"{where}: {error.strerror}; the service would load, and show nothing: set another, or 0 for none"
        return subject, "warning", text
    return subject, "ok", f"{where}: nobody else listens there"


def _check_token(file: Path) -> Told:
    subject = "[web] token_file"
    try:
        token = read_web_token(file)
        advice = readable_by_others(file, os.stat(file))  # noqa: PTH116 - as `open_secret` has it
    except FatalError as error:
        return subject, "problem", str(error)
    except OSError as error:
        return subject, "problem", f"{file} cannot be read ({error.strerror})"
    if advice:
        return subject, "warning", advice
    if len(token) < _SAFE_TOKEN_LENGTH:
        text = f"{file} holds a token of less than {_SAFE_TOKEN_LENGTH} characters, which can be guessed"
        return subject, "warning", text
    return subject, "ok", f"{file} holds a token"
