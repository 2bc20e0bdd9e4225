"""A notification: one event, told to whoever wants to hear of it. It holds no cell and no profile id.

Names of files, names of columns and counts are told, and the reasons that reports give in words.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from pipeline.core.batches.report import Report
from pipeline.core.notifications.events import HEARTBEAT
from pipeline.core.notifications.wording import in_chats, of_job


@dataclass(frozen=True, slots=True)
class Notification:
    """An event as it is told.

    `id`: the same each time that this event is told; letters, digits, `-` and `_`.
    `at`: UTC in ISO 8601.
    `route`: the one by whose [notify] it is sent.
    `text`: the event in words.
    `facts`: the same as plain values.
    `job`: it is told only once the ledger knows that this job has ended so; empty: at once.
    """

    id: str
    event: str
    at: str
    client_code: str
    route: str
    text: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    job: str = ""

    @classmethod
    def of_job(cls, report: Report, route: str) -> "Notification":
        """The state of a job: its end, or that it is quarantined."""
        state: str = report.state
        return cls(
            id=f"{report.job}-{state}",
            event=state,
            at=report.finished_at,
            client_code=report.client_code,
            route=route,
            text=of_job(report, route),
            facts={
                "job": {
                    "job": report.job,
                    "state": state,
                    "export": report.export.name,
                    "error": report.error,
                    "exit_code": int(report.exit_code),
                    "retry_of": report.retry_of,
                    "rows": asdict(report.rows),
                    "rejects": report.rejects.by_reason,
                    "started_at": report.started_at,
                    "finished_at": report.finished_at,
                    "seconds": report.seconds,
                }
            },
            # One that is quarantined has not ended.
            job="" if state == "quarantined" else report.job,
        )

    @classmethod
    def heartbeat(cls, report: Report, route: str) -> "Notification":
        """The call that says that a job is done."""
        told = f"{report.job}-{HEARTBEAT}"
        return cls(told, HEARTBEAT, report.finished_at, report.client_code, route, job=report.job)

    def body(self, form: str, version: str) -> bytes:
        """The body of the POST, in the form `json` or `text`."""
        if form == "text":
            return orjson.dumps({"text": in_chats(self.text)})
        told = {name: getattr(self, name) for name in ("id", "event", "at", "client_code", "route", "text")}
        return orjson.dumps({**told, **self.facts, "version": version})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Notification":
        """A notification as `asdict` made it plain. Raises `LookupError`, `TypeError` or `ValueError` otherwise."""
        texts = {name: values[name] for name in ("id", "event", "at", "client_code", "route", "text", "job")}
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(values["facts"], dict):
            raise ValueError("no notification")
        return cls(**texts, facts=values["facts"])
