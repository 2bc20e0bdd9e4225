"""The section [web]: the address at which the service shows itself, and who may look."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.core.target.hosts import is_host, is_loopback
from pipeline.settings.sections.base import OptionalPath, Section

#: The highest port of TCP.
_HIGHEST_PORT = 65_535


def _host(text: str) -> str:
    host = text.lower()
    if not is_host(host):
        raise ValueError("must be the name of a host or an IP address, without port and brackets")
    return host


class WebSettings(Section):
    """The address of pages, JSON and metrics, and the token that those who ask from elsewhere have to send."""

    host: Annotated[str, AfterValidator(_host)] = Field(
        "127.0.0.1",
        description="Name or IP address at which the service listens: 127.0.0.1 for this machine only, 0.0.0.0 for all "
        "IPv4 addresses of it, :: for all. Others than this machine need token_file.",
    )
    port: int = Field(
        8080,
        ge=0,
        le=_HIGHEST_PORT,
        description="TCP port at which the service listens; 0: it does not listen.",
    )
    token_file: OptionalPath = Field(
        None,
        description="Path of the file with the bearer token that pages and JSON want of whoever asks; empty: none, "
        "which is for loopback only.",
    )

    @field_validator("token_file")
    @classmethod
    def _check_token_file(cls, token_file: Path | None, info: ValidationInfo) -> Path | None:
        host = info.data.get("host", "")
        # A key that is wrong by itself has a problem of its own.
        if token_file is None and host and info.data.get("port") and not is_loopback(host):
            raise ValueError(
                f"is required where host is not this machine alone, as {host}: pages and JSON want it of whoever asks; "
                'or set host = "127.0.0.1", or port = 0'
            )
        return token_file
