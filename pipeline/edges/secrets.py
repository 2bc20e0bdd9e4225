"""Keeps secrets out of the log: a second line, since nothing that a server says is logged as it is."""

from typing import Any

import structlog

from pipeline.core.target.messages import without


class SecretsLeftOut:
    """A step of the log that puts `***` in place of the secrets that this process has read."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def __call__(self, _: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
        for secret in self.secrets:
            for name, value in event.items():
                if value is not None and not isinstance(value, bool | int | float):
                    text = str(value)
                    cleared = without(secret, text)
                    event[name] = value if cleared == text else cleared
        return event


def keep_out_of_log(secret: str) -> None:
    """Leave this secret out of all lines from now on."""
    for step in structlog.get_config()["processors"]:
        if isinstance(step, SecretsLeftOut):
            step.secrets.add(secret)
