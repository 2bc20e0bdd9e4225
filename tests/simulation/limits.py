"""The settings of the world: small batches, short waits."""

from functools import cache
from typing import Any

from pipeline.settings.settings import Settings, load_settings
from tests.simulation.process import GRACE_S
from tests.simulation.target import HOLD_S

DEADLINE_S = 8.0


@cache
def defaults() -> Settings:
    """Settings as they are validated; those of a world are made of them without being so, for they may be tiny."""
    return load_settings(
        None,
        env={},
        overrides={
            "target": {"client_code": "demo", "base_url": "http://127.0.0.1:1", "calls_per_minute": 50},
            "export": {"id_column": "id", "unlisted": "send", "max_rejects": "100%"},
            "upload": {"concurrency": 2, "attempts": 3, "backoff_s": 0.01, "backoff_max_s": 0.02},
            "settle": {
                "poll_first_s": 0.1,
                "poll_max_s": 0.5,
                "deadline_s": DEADLINE_S,
                "ambiguous_hold_s": HOLD_S,
                "max_lost": "100%",
            },
            "state": {"directory": "state", "min_free_bytes": 0},
            "service": {"grace_s": GRACE_S},
            "web": {"port": 0},
        },
    )


def settings_with(settings: Settings, **sections: dict[str, Any]) -> Settings:
    """These settings with other values in some sections, whatever is allowed."""
    changed = {name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
    return settings.model_copy(update=changed)
