"""Says why Target would not take a profile id: the one check, for the exact path and the fast one.

The exact path asks `problem_of_id` about each id. The fast path sets aside every row whose id may have a problem, by
the same names, and lets the exact path decide.
"""

from pipeline.core.model import Reason

#: Longest profile id that Target takes, in characters. Adobe's pages name 128 and 256: above 128 a warning is counted.
MAX_ID_CHARACTERS = 256
SAFE_ID_CHARACTERS = 128
#: Bytes that no id may hold, encoded or not. Adobe names them.
FORBIDDEN_IN_IDS = b"+/"


def problem_of_id(profile_id: bytes) -> Reason | None:
    """The reason for which a row of this id is rejected; `profile_id` is valid UTF-8, before encoding."""
    if not profile_id:
        return Reason.EMPTY_ID
    if len(profile_id.translate(None, FORBIDDEN_IN_IDS)) < len(profile_id):
        return Reason.ID_CHARACTER
    if len(profile_id) > MAX_ID_CHARACTERS and len(profile_id.decode()) > MAX_ID_CHARACTERS:
        return Reason.ID_TOO_LONG
    return None
