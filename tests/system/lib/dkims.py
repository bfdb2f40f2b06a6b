# SPDX-License-Identifier: ISC
"""Mails of one sender whose domain signs by DKIM."""

DOMAIN = "example.test"
FROM, TO = f"anna@{DOMAIN}", "bob@example.org"


def mail(body, extra=""):
    return (f"From: Anna <{FROM}>\r\nTo: Bob <{TO}>\r\n{extra}"
            "Subject: a  folded\r\n\tsubject \r\n"
            "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <1@{DOMAIN}>\r\n\r\n").encode() + body


MAILS = {
    "a plain one": mail(b"Hello.\r\n"),
    "no body": mail(b""),
    "blank lines at its end": mail(b"a \t b\r\n\r\n \r\n\r\n"),
    "no line end at its end": mail(b"one\r\ntwo"),
    "eight-bit text": mail("Grüße\r\n".encode()),
    "long lines": mail(b"x" * 5000 + b"  y\r\n"),
    "60 KB": mail(b"The quick brown fox.  \r\n" * 2600),
    "fields that are signed where they are there": mail(
        b"x\r\n", f"In-Reply-To: <0@{DOMAIN}>\r\nReferences: <0@{DOMAIN}>\r\n"
        "List-Unsubscribe: <mailto:off@example.test>\r\n"
        "Reply-To: other@example.test\r\n"),
}
