"""The signature of a notification: whoever has the secret can tell that it is ours, whole and new.

The header is `Webhook-Signature: t=TIME,v1=SIGNATURE`: TIME is the second of the attempt (Unix time), SIGNATURE the
HMAC-SHA256 of TIME, a dot and the body, in hexadecimal. Since the time is signed, a receiver that refuses old ones
cannot be told an old notification once more.
"""

import hmac

#: The headers of a notification: its signature, and its id.
SIGNATURE_HEADER, ID_HEADER = "Webhook-Signature", "Webhook-Id"


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """The value of the header for a body that is sent at this second."""
    return f"t={at_s},v1={hmac.new(secret, b'%d.' % at_s + body, 'sha256').hexdigest()}"
