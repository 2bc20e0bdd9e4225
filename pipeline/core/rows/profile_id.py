"""The check of a profile id, shared by the exact path and the fast one.

The exact path calls `problem_of_id` for each id. The fast path uses the same limits to set aside every row whose id may
have a problem, and lets the exact path decide.
"""

from pipeline.core.model import Reason

#: Characters of the longest profile id that Target takes. Adobe's pages name 128 and 256; above 128 there is a warning.
MAX_ID_CHARACTERS = 256
SAFE_ID_CHARACTERS = 128
#: Bytes that no id may hold, encoded or not. Source: Adobe.
FORBIDDEN_IN_IDS = b"+/"


def problem_of_id(profile_id: bytes) -> Reason | None:
    """The reason to reject a row with this id, or None. `profile_id`: valid UTF-8, before encoding."""
    if not profile_id:
        return Reason.EMPTY_ID
    if len(profile_id.translate(None, FORBIDDEN_IN_IDS)) < len(profile_id):
        return Reason.ID_CHARACTER
    if len(profile_id) > MAX_ID_CHARACTERS and len(profile_id.decode()) > MAX_ID_CHARACTERS:
        return Reason.ID_TOO_LONG
    return None
