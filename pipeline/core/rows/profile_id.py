"""The check of a profile id, shared by the exact path and the fast one.

The exact path calls `problem_of_id` for each id. The fast path uses the same limits to set aside every row whose id may
have a problem, and lets the exact path decide.
"""

from pipeline.core.model import Reason
from pipeline.core.rows.cells import CellRules

#: Characters of the longest profile id that Target takes, by kind; Adobe's pages, that of the Delivery API for pcId.
#: For a thirdPartyId they name 128 and 256; above 128 there is a warning.
MAX_ID_CHARACTERS = {"thirdPartyId": 256, "pcId": 128}
SAFE_ID_CHARACTERS = 128
#: Bytes that no id may hold, encoded or not. Source: Adobe.
FORBIDDEN_IN_IDS = b"+/"


def problem_of_id(profile_id: bytes, id_kind: str, rules: CellRules) -> Reason | None:
    """The reason to reject a row with this id, or None. `profile_id`: valid UTF-8, trimmed, before encoding."""
    return problem_of_written_id(profile_id, rules) or problem_of_sent_id(profile_id, id_kind)


def problem_of_written_id(profile_id: bytes, rules: CellRules) -> Reason | None:
    """The reason to reject a row because its id, as the export has it, is nobody's."""
    if not profile_id or profile_id in rules.nulls:
        return Reason.EMPTY_ID
    if rules.is_placeholder(profile_id):
        return Reason.ID_PLACEHOLDER
    if rules.is_number(profile_id):
        return Reason.ID_NUMBER
    return None


def problem_of_sent_id(profile_id: bytes, id_kind: str) -> Reason | None:
    """The reason to reject a row because Target does not take the id that would be sent."""
    if len(profile_id.translate(None, FORBIDDEN_IN_IDS)) < len(profile_id):
        return Reason.ID_CHARACTER
    longest = MAX_ID_CHARACTERS[id_kind]
    if len(profile_id) > longest and len(profile_id.decode()) > longest:
        return Reason.ID_TOO_LONG
    return None
