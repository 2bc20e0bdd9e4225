"""The behaviour of a sandbox, and the limits of the wire contract that it enforces.

Names of fields end with their unit. Values that Adobe does not document are marked "assumed".
"""

from dataclasses import dataclass
from typing import Literal

#: The first refused size of an encoded body, `batch=` and header included. Documented as "less than 50 MB".
MAX_BODY_BYTES = 50_000_000
#: Data rows of one batch, header excluded. Documented.
MAX_ROWS = 500_000
#: Characters of an id after decoding; the documentation names both 128 and 256.
MAX_ID_CHARS = 256
#: Characters of an attribute name. Assumed.
MAX_NAME_CHARS = 128
#: Calls a minute, POSTs and status GETs together. 50 is documented; that GETs count is assumed.
CALLS_PER_MINUTE = 50
#: Batches whose status can be asked for, and the time for which it can (seconds). From an older documentation page.
STATUSES_KEPT = 10
STATUSES_KEPT_S = 86_400.0

Override = Literal["merge", "replace"]
Decode = Literal["before", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Settings of one sandbox; the defaults are the contract's limits with delays a person can wait for."""

    client_code: str = "demo"
    seed: int = 0
    #: The whole batch is decoded before rows and cells are split, or each cell after it. No page says which. `before`
    #: follows from Adobe's list of what characters that are not encoded do, and is the harsher reading.
    decode: Decode = "before"
    #: A batch is applied after a delay drawn evenly from this range, hence batches are applied in any order.
    apply_min_s: float = 0.5
    apply_max_s: float = 5.0
    #: The effect of a later batch on an id's attributes: `merge` updates those it names, `replace` drops all others.
    override: Override = "merge"
    #: None: a status is never forgotten for the number of batches, or for its age.
    statuses_kept: int | None = STATUSES_KEPT
    statuses_kept_s: float | None = STATUSES_KEPT_S
    #: None: any number of calls.
    calls_per_minute: int | None = CALLS_PER_MINUTE
    minute_s: float = 60.0
    #: Calls a minute that another sender of the account makes: so many fewer are left.
    neighbour_calls: int = 0
    #: None: no authentication.
    token: str | None = None
    #: Scheme, host and port of status URLs; None: those of the POST. `{port}` stands for the POST's port.
    status_base_url: str | None = None
    #: True: a v2 batch's status URL has `/v2` too; in the documented example it has not.
    status_with_v2: bool = False
    #: True: the `&` of a status URL is un-escaped in the XML.
    raw_ampersand: bool = True
    #: True: the same bytes are never a new statement, and each copy is as old as the first. For a sender that says
    #: each value once, and whose answers get lost behind the sandbox, which cannot know then what its sender knows.
    says_all_once: bool = False
    #: False: validate and count, but store no profile and no id; v1 then finds every profile.
    keep_profiles: bool = True
    max_bytes: int = MAX_BODY_BYTES
    max_rows: int = MAX_ROWS
    #: `<profile>` rows in a status at most; None: all of them; 0: none.
    failed_rows_listed: int | None = 1_000

    def __post_init__(self) -> None:
        if not 0 <= self.apply_min_s <= self.apply_max_s:
            raise ValueError(f"apply_min_s {self.apply_min_s} and apply_max_s {self.apply_max_s} must be a range")
        if self.override not in ("merge", "replace"):
            raise ValueError(f"override must be merge or replace, not {self.override!r}")
        if self.decode not in ("before", "after"):
            raise ValueError(f"decode must be before or after, not {self.decode!r}")
