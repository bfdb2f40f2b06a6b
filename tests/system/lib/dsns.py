# SPDX-License-Identifier: ISC
"""Reads delivery status notifications (RFC 3462, RFC 3464)."""

import email
import email.policy


class Report:
    """One DSN.  .recipients: a dict for each, with lower-case names."""

    def __init__(self, content):
        self.mail = email.message_from_bytes(
            content, policy=email.policy.default)
        if self.mail.get_content_type() != "multipart/report":
            raise ValueError("it is " + self.mail.get_content_type())
        if self.mail.get_param("report-type") != "delivery-status":
            raise ValueError("report-type is not delivery-status")
        parts = list(self.mail.iter_parts())
        kinds = [part.get_content_type() for part in parts]
        if kinds[0] != "text/plain" or len(parts) not in (2, 3):
            raise ValueError(f"its parts are {kinds}")
        if kinds[1] not in ("message/delivery-status",
                            "message/global-delivery-status"):
            raise ValueError(f"its parts are {kinds}")
        self.words = parts[0].get_content()
        # Python knows message/delivery-status, not its kin of RFC 6533.
        payload = parts[1].get_payload()
        if kinds[1] != "message/delivery-status":
            payload = [email.message_from_string(
                text, policy=email.policy.default) for text in
                payload[0].as_string().split("\n\n")]
        blocks = [dict((name.lower(), str(value))
                       for name, value in block.items())
                  for block in payload]
        blocks = [block for block in blocks if block]
        self.message, self.recipients = blocks[0], blocks[1:]
        self.returned_type = kinds[2] if len(parts) > 2 else ""
        self.returned = ""
        if len(parts) > 2:
            payload = parts[2].get_payload()
            self.returned = (payload[0].as_string()
                             if isinstance(payload, list) else str(payload))

    def of(self, address):
        """The block of one recipient; None without it."""
        for block in self.recipients:
            if block["final-recipient"].endswith(address):
                return block
        return None
