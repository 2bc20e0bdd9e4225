"""Target's messages in words of our own: log, report and `status` never quote what a server says.

A message may quote a row, the token, or anything that a proxy on the way has seen. So it is only compared with those
that are known, and these are told as they stand here. Of any other one is told that it is not known; its text goes to a
file in the job's folder, for the owner's eyes.
"""

import base64
import re
from functools import lru_cache
from urllib.parse import quote

#: The file in a job's folder that has the texts of unknown messages.
ANSWERS_FILE = "answers.jsonl"
#: Messages about the body as a whole (Adobe): a raw `%` in it, or none of its rows arrived.
UNEXPECTED_ERROR, BATCH_IS_EMPTY = "Unexpected error", "Batch is empty"
_KNOWN = {
    known.lower(): known
    for known in (
        UNEXPECTED_ERROR,
        BATCH_IS_EMPTY,
        "Batch submitted for processing",
        "Forbidden",
        "Unauthorized",
        # The words of the sandbox.
        "A parameter name occurs twice",
        "Batch could not be queued",
        "Batch not found",
        "Parameter batch is missing",
        "Unsupported content encoding",
        "Unsupported content type",
    )
}
#: The beginnings of messages that go on with something of the call: the rest is not told.
_KNOWN_BEGINNINGS = ("Illegal parameter name", "Invalid client code", "Number of rows exceeds the limit")
_CLIENT = re.compile(r"\bclient\b", re.IGNORECASE)
_MASK = "***"
#: A shorter piece of a text in base64 says nothing of what was encoded.
_MIN_PIECE = 6


def in_our_words(message: str) -> tuple[str, str]:
    """A message of Target's in our words, and its text if these do not say all of it, else an empty one."""
    plain = " ".join(message.split()).rstrip(".!").lower()
    if not plain:
        return "no message", ""
    if plain in _KNOWN:
        return _KNOWN[plain], ""
    for beginning in _KNOWN_BEGINNINGS:
        if plain.startswith(beginning.lower()):
            return beginning, message
    about = " about the client" if is_about_the_client(message) else ""
    return (
        f"a message{about} that is not known ({len(message):,} characters; see {ANSWERS_FILE} in the job's folder)",
        message,
    )


def is_about_the_client(message: str) -> bool:
    """True if a message, of Target's or in our words, is about the client and not about rows."""
    return _CLIENT.search(message) is not None


def is_empty_batch(message: str) -> bool:
    """True if Target found no row in the body, although there are some: an error of ours, or of a proxy."""
    return message.strip().rstrip(".").lower() == BATCH_IS_EMPTY.lower()


def without(secret: str, text: str) -> str:
    """A text with `***` wherever it holds a secret: as it is, percent-encoded, or in base64 of whatever holds it."""
    for form in _forms(secret):
        text = text.replace(form, _MASK)
    return text


@lru_cache(maxsize=8)
def _forms(secret: str) -> tuple[str, ...]:
    encoded = quote(secret, safe="")
    wholly = "".join(f"%{byte:02X}" for byte in secret.encode())
    forms = {secret, encoded, re.sub("%..", lambda found: found[0].lower(), encoded), wholly, wholly.lower()}
    for before in range(3):
        # Encoded behind so many bytes: without the characters that depend on what stands around it.
        whole = base64.b64encode(bytes(before) + secret.encode()).decode()
        bits = 8 * (before + len(secret.encode()))
        piece = whole[-(-8 * before // 6) : bits // 6]
        if len(piece) >= _MIN_PIECE:
            forms |= {piece, piece.translate(str.maketrans("+/", "-_"))}
    return tuple(sorted(forms - {""}, key=len, reverse=True))
