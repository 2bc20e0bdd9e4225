"""The section [notify]: who is told of what becomes of exports, and how."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.core.notifications.events import EVENTS
from pipeline.core.target.hosts import checked_webhook, masked_webhook
from pipeline.settings.sections.base import OptionalPath, Section

#: The keys whose values are URLs, which may be secrets.
_URL_KEYS = ("webhook", "heartbeat_url")


def _events(events: tuple[str, ...]) -> tuple[str, ...]:
    if not events or len(set(events)) < len(events) or not set(events) <= set(EVENTS):
        raise ValueError(f"must be a list of events, each once, out of {', '.join(EVENTS)}")
    return events


class NotifySettings(Section):
    """Who is told of what becomes of exports, and how."""

    webhook: Annotated[str, AfterValidator(checked_webhook)] = Field(
        "",
        repr=False,
        description="URL to which each event is posted: https, or http on this machine; empty: none. config show masks "
        "its path, which is a secret where a chat listens.",
    )
    webhook_file: OptionalPath = Field(
        None,
        description="Path of a file that holds that URL and nothing else, instead of webhook: where it is a secret.",
    )
    secret_file: OptionalPath = Field(
        None,
        description="Path of the file with the secret by which each POST is signed (HMAC-SHA256, header "
        "Webhook-Signature), at least 16 bytes; empty: not signed. It is read at each POST.",
    )
    format: Literal["json", "text"] = Field(
        "json", description='Body of a POST: json has all facts, text is {"text": "..."} as chats take it.'
    )
    events: Annotated[tuple[str, ...], AfterValidator(_events)] = Field(
        tuple(event for event in EVENTS if event != "done"),
        description=f"Events that are told, out of {', '.join(EVENTS)}.",
    )
    heartbeat_url: Annotated[str, AfterValidator(checked_webhook)] = Field(
        "",
        repr=False,
        description="URL that is called by GET after each job that is done, for a watch that alarms when calls stay "
        "away; empty: none. config show masks its path.",
    )

    @field_validator("webhook_file", "secret_file")
    @classmethod
    def _is_a_path(cls, file: Path | None) -> Path | None:
        # A path loses one of two slashes.
        if file is not None and str(file).startswith(("https:/", "http:/")):
            raise ValueError("must be the path of a file, not what is in it")
        return file

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.webhook and self.webhook_file is not None:
            raise ValueError("webhook and webhook_file are both set: name the URL in one of them")
        return self

    @property
    def has_webhook(self) -> bool:
        """True if events are told to anybody."""
        return bool(self.webhook or self.webhook_file)

    @property
    def is_used(self) -> bool:
        """True if anybody is called."""
        return self.has_webhook or bool(self.heartbeat_url)


def with_masked_urls(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections of a configuration, as plain values, with URLs as they may be shown. They can be read back."""
    notify = {
        key: masked_webhook(value) if key in _URL_KEYS and value else value for key, value in sections["notify"].items()
    }
    return {**sections, "notify": notify}
