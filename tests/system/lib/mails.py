# SPDX-License-Identifier: ISC
"""Thousands of messages, the same ones each time, and what must become of
each on its way through a gateway.

    for mail in mails.generate(2200):
        ... submit mail.content by mail.way ...
    mails.difference(mail, arrived)     # None, or a sentence

A mail's way is "submission" (logged in), "trusted" or "stranger": those
whose header has no From of the sender's own cannot be submitted.  On the way
a gateway may add Received, at submission Message-ID and Date where they are
missing, take Bcc and Resent-Bcc away at submission, and end the last line.
"""

import base64
import quopri
import random
import re

WAYS = ("submission", "trusted", "stranger")
SENDERS = {"submission": "anna@example.test", "trusted": "app@any.invalid",
           "stranger": "otto@elsewhere.test"}

# RFC 5322 §2.2; §4.5 allows blanks before the colon.
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
RECEIVED = re.compile(
    rb"Received: from [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*?"
    rb"[ \t][^\r\n]*; (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [^\r\n;]*\r\n")
# What opening and verifying has to say of a stranger's mail.
VERDICT = re.compile(
    rb"(?:Authentication-Results: gw\.example\.test;[^\r\n]*\r\n"
    rb"(?:[ \t][^\r\n]*\r\n)*)?"
    rb"X-Postern-Crypto: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
MESSAGE_ID = re.compile(rb"Message-ID: <[^<>\s]+@[^<>\s]+>\r\n")
DATE = re.compile(rb"Date: \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d "
                  rb"[+-]\d{4}\r\n")

WORDS = ("mail gate castle wall door tower guard letter rider road snow "
         "bridge lamp salt winter harbour rope bread clock river").split()
CHARSETS = (("utf-8", "Grüße, 手紙, письмо, ελπίδα, 🏰"),
            ("iso-8859-1", "Grüße, çà et là, señor"),
            ("iso-8859-15", "Preis: 5 €"), ("windows-1252", "“quoted” – €"),
            ("koi8-r", "Привет, почта"), ("windows-1251", "Привет, почта"),
            ("shift_jis", "手紙を送る"), ("iso-2022-jp", "手紙を送る"),
            ("gb18030", "信件网关"), ("euc-kr", "우편"),
            ("us-ascii", "plain words"))


class Mail:
    def __init__(self, number, name, way, content, kept, wire=None):
        self.number = number
        self.name = name
        self.way = way
        self.content = content
        self.kept = kept     # or refused, at the final dot
        self.wire = wire     # what to send after DATA, if not the usual
        self.sender = SENDERS[way]

    def __repr__(self):
        return (f"mail {self.number} ({self.name}, {len(self.content)} "
                f"octets, {self.way})")


# --- pieces ---

def _sentence(r, count=8):
    return " ".join(r.choice(WORDS) for _ in range(count))


def _text(r, lines=5):
    return "".join(_sentence(r, r.randint(1, 12)) + "\r\n"
                   for _ in range(lines)).encode()


def _octets(r, count):
    """Any octets but NUL, CR and LF, in lines."""
    some = bytes(b for b in range(1, 256) if b not in (10, 13))
    rows = []
    while count > 0:
        n = min(count, r.randint(1, 900))
        rows.append(bytes(r.choices(some, k=n)))
        count -= n
    return b"\r\n".join(rows) + b"\r\n"


def _header(r, way, *more, leave_out=()):
    """A usual header for that way, without the blank line."""
    fields = {
        "From": SENDERS[way],
        "To": r.choice(["b@dest.test", "A Group:b@dest.test, c@dest.test;",
                        "\"B, of C\" <b@dest.test>, c@dest.test"]),
        "Subject": _sentence(r, 4),
        "Date": "Mon, 02 Nov 2026 10:%02d:%02d +0100" % (
            r.randint(0, 59), r.randint(0, 59)),
        "Message-ID": f"<{r.getrandbits(64):x}@made.invalid>",
    }
    if r.random() < 0.3:
        fields["From"] = f"{_sentence(r, 2)} <{SENDERS[way]}>"
    rows = [f"{name}: {value}\r\n".encode() for name, value in fields.items()
            if name not in leave_out]
    rows += [row if isinstance(row, bytes) else row.encode() for row in more]
    if r.random() < 0.5:
        r.shuffle(rows)
    return b"".join(rows)


def _leaf(r):
    kind = r.randrange(9)
    charset, words = r.choice(CHARSETS)
    raw = (words + "\r\n").encode(charset) * r.randint(1, 5)
    head = f"Content-Type: text/plain; charset={charset}\r\n".encode()
    if kind == 0:
        return head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + raw
    if kind == 1:
        return (head + b"Content-Transfer-Encoding: base64\r\n\r\n"
                + base64.encodebytes(raw).replace(b"\n", b"\r\n"))
    if kind == 2:
        return (head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
                + quopri.encodestring(raw.replace(b"\r\n", b"\n")).replace(
                    b"\n", b"\r\n"))
    if kind == 3:
        return b"\r\n" + _text(r)          # a part without a header
    if kind == 4:
        return b""                         # nothing at all
    if kind == 5:
        return (b"Content-Type: application/octet-stream; name=\"a b.bin\"\r\n"
                b"Content-Disposition: attachment;\r\n"
                b" filename*0*=UTF-8''%e2%82%ac;\r\n filename*1=\"x.bin\"\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\n"
                + base64.encodebytes(r.randbytes(r.randint(0, 3000))).replace(
                    b"\n", b"\r\n"))
    if kind == 6:
        return (b"content-type:text/html;charset=\"utf-8\"\r\n"
                b"CONTENT-TRANSFER-ENCODING:8BIT\r\n\r\n<p>"
                + words.encode() + b"</p>\r\n")
    if kind == 7:
        return (b"Content-Type: text/calendar; method=REQUEST\r\n\r\n"
                b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n")
    return (b"Content-Type: message/rfc822\r\n\r\nFrom: x@x.invalid\r\n"
            b"Received: from inside\r\nBcc: hidden@inside.test\r\n"
            b"Subject: inside\r\n\r\n" + _text(r))


BOUNDARIES = (
    ("b1", "b1"), ("\"=_next.part'(x)+_,-./:=?\"", "=_next.part'(x)+_,-./:=?"),
    ("\"" + "x" * 70 + "\"", "x" * 70), ("y", "y"),
    ("\"with a space\"", "with a space"), ("\"b1b\"", "b1b"),
    ("----=_Part_0.1", "----=_Part_0.1"), ("\"-\"", "-"), ("\"b\\1\"", "b1"))
KINDS = ("mixed", "alternative", "related", "digest", "parallel",
         "signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256",
         "report; report-type=delivery-status", "form-data", "x-odd",
         "encrypted; protocol=\"application/pgp-encrypted\"")


def _multipart(r, depth, serial=None):
    """(value of Content-Type, body)."""
    serial = serial if serial is not None else [0]
    serial[0] += 1
    written, boundary = r.choice(BOUNDARIES)
    if depth > 1 or r.random() < 0.5:
        boundary = written = f"n{serial[0]}.{r.getrandbits(32):x}"
    rows = []
    if r.random() < 0.4:
        rows.append(b"This is a preamble.\r\n..dots\r\n")
    width = 1 if depth > 3 else r.randint(0, 3)
    for _ in range(width):
        rows.append(f"--{boundary}{r.choice(['', '', ' ', chr(9)])}\r\n"
                    .encode())
        rows.append(_leaf(r) + r.choice([b"\r\n", b""]))
        if not rows[-1].endswith(b"\r\n"):
            rows[-1] += b"\r\n"
    if depth > 1:
        kind, inner = _multipart(r, depth - 1, serial)
        rows.append(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode())
        rows.append(inner)
    if r.random() < 0.9:                       # else it never closes
        rows.append(f"--{boundary}--\r\n".encode())
    if r.random() < 0.3:
        rows.append(b"An epilogue\r\n--" + boundary.encode() + b"\r\n")
    kind = r.choice(KINDS)
    return f"multipart/{kind};\r\n boundary={written}", b"".join(rows)


def _sized(r, way, size):
    """A message of exactly that many octets, with CR LF at its end."""
    head = _header(r, way) + b"\r\n"
    body = bytearray()
    while len(body) < size - len(head):
        body += _sentence(r, 12).encode()[:76] + b"\r\n"
    body = bytes(body[:size - len(head)])
    # The cut may have gone through a line end.
    if len(body) >= 4:
        body = body[:-4].rstrip(b"\r\n").ljust(len(body) - 2, b"x") + b"\r\n"
    return head + body


# --- edges: each yields (name, content), or (name, content, wire) ---

def _edge_bodies():
    """Bodies, by name."""
    for n in (1, 997, 998, 999, 1000, 2048, 4096, 65536, 100000):
        yield f"a line of {n} octets", b"x" * n + b"\r\n"
        yield f"a line of {n} octets, 8 bit", b"\xc3\xa4" * (n // 2) + b"\r\n"
    yield "a last line of 100,000 octets without end", b"x" * 100000
    yield "no final line end", b"first\r\nlast"
    yield "an empty body", b""
    yield "one empty line", b"\r\n"
    yield "many empty lines", b"\r\n" * 3000
    yield "blanks at the ends of lines", b"a \r\nb\t\r\n  \r\n\t\r\n"
    for dots in (b".", b"..", b"...", b"....", b". ", b".x", b"..x",
                 b".\t", b" .", b".\xe2\x80\xa8", b"." * 998, b"." * 5000):
        label = dots[:6].decode("utf-8", "replace") + f" ({len(dots)})"
        yield f"the line {label} first", dots + b"\r\nrest\r\n"
        yield f"the line {label} in the middle", b"a\r\n" + dots + b"\r\nb\r\n"
        yield f"the line {label} last", b"a\r\n" + dots + b"\r\n"
        yield f"the line {label} last without end", b"a\r\n" + dots
        yield f"the line {label}, ten times", (dots + b"\r\n") * 10
    yield "only dots", b".\r\n..\r\n...\r\n" * 200
    yield "From at a line's start", b"From me\r\n>From you\r\n"
    yield "commands", b"RSET\r\nMAIL FROM:<x@y>\r\nDATA\r\n.\r\nQUIT\r\n"
    yield "every octet", bytes(b for b in range(1, 256)
                               if b not in (10, 13)) + b"\r\n"
    yield "strange line ends", ("a\u0085b\u2028c\u2029d\x0be\x0cf\uff0e"
                                .encode() + b"\r\n\x85.\x85\r\n")
    yield "broken UTF-8", b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf8\r\n"
    yield "a NUL of modified UTF-8", b"\xc0\x80\r\n"
    yield "ESC and other controls", bytes(range(1, 9)) + b"\x1b[2J\x7f\r\n"
    yield "an armored message", (b"-----BEGIN PGP MESSAGE-----\r\n\r\n"
                                 b"hF4D\r\n-----END PGP MESSAGE-----\r\n")
    yield "uuencoded", b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n"


def _edge_headers(way):
    """Whole headers with the blank line, by name."""
    mine = f"From: {SENDERS[way]}\r\n".encode()
    plain = mine + b"Subject: x\r\n"
    yield "no Date", plain + b"Message-ID: <a@b.invalid>\r\n\r\n"
    yield "no Message-ID", (plain + b"Date: Mon, 02 Nov 2026 10:00:00 +0000"
                            b"\r\n\r\n")
    yield "neither Date nor Message-ID", plain + b"\r\n"
    yield "an empty Message-ID", plain + b"Message-ID:\r\nDate:\r\n\r\n"
    yield "names in other case", (b"fROM: " + SENDERS[way].encode()
                                  + b"\r\nmessage-id: <q@q.invalid>\r\n"
                                  b"DATE: Mon, 2 Nov 2026 10:00 GMT\r\n\r\n")
    yield "a Bcc", plain + b"Bcc: hidden@dest.test\r\nTo: b@dest.test\r\n\r\n"
    yield "a folded Bcc at the end", (plain + b"Bcc: h@dest.test,\r\n"
                                      b"\ti@dest.test,\r\n j@dest.test\r\n"
                                      b"\r\n")
    yield "Bcc first", b"BCC: h@dest.test\r\n" + plain + b"\r\n"
    yield "several Bcc", (b"Bcc: a@dest.test\r\nbcc : b@dest.test\r\n" + plain
                          + b"Resent-Bcc: c@dest.test\r\nBcc:\r\n"
                          b"X-Bcc: stays@dest.test\r\n\r\n")
    yield "folded fields", (plain + b"X-A: one\r\n two\r\n\tthree\r\n"
                            b"X-B:\r\n value\r\n\r\n")
    yield "a fold of blanks only", plain + b"X-A: one\r\n \t \r\n two\r\n\r\n"
    yield "blanks before the colon", plain + b"X-A \t: one\r\n\r\n"
    yield "a field without value", plain + b"X-A:\r\nX-B: \r\n\r\n"
    yield "odd names", plain + b"!#$%&'*+-^_`|~: x\r\nx/y=z: 1\r\n\r\n"
    for n in (998, 999, 1000, 5000, 60000):
        yield f"a field line of {n} octets", (plain + b"X-Long: "
                                              + b"x" * (n - 8) + b"\r\n\r\n")
    yield "a folded field of 60,000 octets", (
        plain + b"References:" + b"\r\n <0123456789abcdef@made.invalid>" * 1700
        + b"\r\n\r\n")
    yield "1,000 fields", plain + b"".join(
        b"X-%d: value %d\r\n" % (i, i) for i in range(1000)) + b"\r\n"
    yield "2,500 fields of 70 octets", plain + b"".join(
        b"X-Number-%04d: %s\r\n" % (i, b"v" * 53) for i in range(2500)
    ) + b"\r\n"
    yield "encoded words", (
        plain + b"Comments: =?utf-8?B?R3LDvMOfZQ==?= =?iso-8859-1?q?Gr=FC=DF?="
        b"\r\n =?koi8-r?b?8NLJ18XU?= =?x?z?broken?= =?utf-8?q?=0d=0a?=\r\n\r\n")
    yield "raw 8 bit in fields", (plain + "Comments: Grüße 手紙\r\n".encode()
                                  + b"X-Latin: Gr\xfc\xdfe\r\n\r\n")
    yield "40 Received", b"".join(
        b"Received: from h%d (h%d [192.0.2.%d])\r\n\tby h%d with SMTP; "
        b"Mon, 02 Nov 2026 10:00:00 +0000\r\n" % (i, i, i, i + 1)
        for i in range(40)) + plain + b"\r\n"
    yield "no blank line before the text", plain + b"This is text.\r\n"
    yield "a header and no body", plain
    yield "From with comments and a group in To", (
        b"From: (a (nested) comment) <" + SENDERS[way].encode()
        + b"> (more)\r\nTo: undisclosed-recipients:;\r\n\r\n")


AMBIGUOUS = ("a fold of blanks only", "no blank line before the text")


def _headless():
    """Whole messages that have no usual header."""
    yield "no header", b"Just text, no header.\r\nMore: text\r\n"
    yield "an empty line first", b"\r\nbody\r\n"
    yield "only empty lines", b"\r\n\r\n\r\n"
    yield "one word", b"word"
    yield "an empty message", b"\r\n"
    yield "nothing before the dot", b"", b".\r\n"
    yield "one dot", b"."
    yield "two dots", b"..\r\n"
    yield "dots only", b".\r\n.\r\n..\r\n"
    yield "a line of 100,000 octets alone", b"x" * 100000 + b"\r\n"
    yield "70,000 octets of text, no header", b"no header here\r\n" * 4400
    yield "one field", b"Subject: x\r\n"
    yield "one field without end", b"Subject: x"
    yield "raw octets", b"\xff\xfe\xfd\r\n\x80\x81\r\n"
    yield "no From", b"Subject: x\r\nTo: b@dest.test\r\n\r\ntext\r\n"
    yield "an mbox line first", (b"From x@x.invalid Mon Nov  2 10:00:00 2026"
                                 b"\r\nSubject: x\r\n\r\nbody\r\n")


BORDERS = (4096, 8192, 16384, 65536, 131072, 262144)


def _sizes(r, way):
    for border in BORDERS:
        for off in (-3, -2, -1, 0, 1, 2, 3):
            yield f"{border}{off:+d} octets", _sized(r, way, border + off)
    # Our own lines make some of these pass the border of one frame.
    for off in range(-620, 0, 20):
        yield f"65536{off:+d} octets", _sized(r, way, 65536 + off)
    for size in (1 << 20, (1 << 20) + 1, 3_000_000, 5 << 20):
        yield f"{size} octets", _sized(r, way, size)
    yield "2,000,000 octets in one line", (
        _header(r, way) + b"\r\n" + b"y" * 2_000_000)
    yield "300,000 lines of one dot", (
        _header(r, way) + b"\r\n" + b".\r\n" * 300_000)


def _poison(r, way):
    """What must be refused: NUL, bare CR, bare LF."""
    evils = (("a NUL", b"\0"), ("a bare CR", b"\r"), ("a bare LF", b"\n"),
             ("LF . LF", b"\n.\n"), ("LF . CR LF", b"\n.\r\n"),
             ("CR LF . LF", b"\r\n.\n"), ("CR . CR", b"\r.\r"),
             ("CR . CR LF", b"\r.\r\n"), ("CR CR LF", b"\r\r\n"),
             ("CR LF . CR", b"\r\n.\rx"),
             ("CR CR LF . CR CR LF", b"\r\r\n.\r\r\n"))
    for name, evil in evils:
        head = _header(r, way)
        yield f"{name} in the header", (
            head + b"X-A: a" + evil + b"b\r\n\r\nbody\r\n")
        yield f"{name} in the text", head + b"\r\na" + evil + b"b\r\n"
        yield f"{name} at the end", head + b"\r\na" + evil + b"b"
        for border in (4096, 8192, 65536, 131072, 300_000):
            whole = bytearray(_sized(r, way, border + 1000))
            at = border - r.randint(0, len(evil))
            whole[at:at + len(evil)] = evil
            # What stood there may have been half of a line end.
            yield f"{name} near {border}", bytes(whole)


def _ordinary(r, way):
    """One of the endless kinds of usual mail."""
    kind = r.randrange(10)
    if kind < 5:
        depth = r.choice((1, 1, 1, 2, 2, 3, 5, 10, 30, 100))
        value, body = _multipart(r, depth)
        fields = f"MIME-Version: 1.0\r\nContent-Type: {value}\r\n"
        if r.random() < 0.3:
            fields += "Content-Transfer-Encoding: 8bit\r\n"
        return (f"multipart, {depth} deep",
                _header(r, way, fields) + b"\r\n" + body)
    if kind == 5:
        return "one leaf", (_header(r, way, b"MIME-Version: 1.0\r\n")
                            + _leaf_behind_header(r))
    if kind == 6:
        return "raw octets", (_header(r, way) + b"\r\n"
                              + _octets(r, r.randint(1, 40000)))
    if kind == 7:
        inner = b"X-Deep: end\r\n\r\ntext\r\n"
        for _ in range(r.choice((1, 3, 20, 100))):
            inner = b"Content-Type: message/rfc822\r\n\r\n" + inner
        return "messages in messages", (
            _header(r, way, b"MIME-Version: 1.0\r\n") + inner)
    if kind == 8:
        more = []
        for i in range(r.randint(1, 60)):
            more.append(f"X-{r.choice(WORDS)}-{i}: "
                        + "\r\n ".join(_sentence(r, r.randint(1, 9))
                                       for _ in range(r.randint(1, 4)))
                        + "\r\n")
        return "many fields", (_header(r, way, *more, leave_out=r.choice(
            ((), ("Date",), ("Message-ID",), ("To", "Subject"))))
            + b"\r\n" + _text(r, r.randint(0, 20)))
    return "text", (_header(r, way) + b"\r\n" + _text(r, r.randint(0, 400)))


def _leaf_behind_header(r):
    leaf = b""
    while not leaf or leaf.startswith(b"\r\n"):
        leaf = _leaf(r)
    return leaf


def _edges(r):
    """(name, way, content, kept[, wire]) of every edge."""
    turn = 0
    for name, body in _edge_bodies():
        way = WAYS[turn % 3]
        turn += 1
        yield name, way, _header(r, way) + b"\r\n" + body, True
    for way in WAYS:
        for name, head in _edge_headers(way):
            # Others may read another From here: of those who log in, it has
            # to be clear.
            kept = way != "submission" or name not in AMBIGUOUS
            yield name, way, head + (
                b"" if name.startswith("a header and") else b"body\r\n"), kept
    for way in WAYS[1:]:
        for name, *rest in _headless():
            yield (name, way, rest[0], True, *rest[1:])
    for turn, way in enumerate(WAYS):
        for name, content in _sizes(r, way):
            # The giants once are enough.
            if len(content) < 600_000 or len(name) % 3 == turn:
                yield name, way, content, True
        for name, content in _poison(r, way):
            yield name, way, content, False


def generate(count, seed=2026):
    """At least every edge, then usual mail of all kinds up to count."""
    r = random.Random(seed)
    number = 0
    for name, way, content, kept, *wire in _edges(r):
        yield Mail(number, name, way, content, kept, *wire)
        number += 1
    while number < count:
        way = WAYS[number % 3]
        name, content = _ordinary(r, way)
        yield Mail(number, name, way, content, True)
        number += 1


# --- what must have become of it ---

def header_fields(content):
    """The header's fields, whole with their line ends, in a list; and what
    follows, with the blank line."""
    fields, at = [], 0
    while at < len(content):
        end = content.find(b"\r\n", at)
        end = len(content) if end < 0 else end + 2
        line = content[at:end]
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += line
        elif FIELD.match(line) or (at == 0 and line.startswith(b"From ")):
            fields.append(line)
        else:
            break
        at = end
    return fields, content[at:]


def _name(field):
    return field.partition(b":")[0].strip().lower()


def expected(mail):
    """What must follow behind the lines that were added.  An mbox line goes;
    before a line that is no field the header ends by an empty line."""
    content = mail.content
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    elif not content and mail.wire is None:
        content = b"\r\n"
    fields, rest = header_fields(content)
    if mail.way == "submission":
        fields = [f for f in fields
                  if _name(f) not in (b"bcc", b"resent-bcc")]
    if fields and fields[0].startswith(b"From "):
        del fields[0]
    if fields and rest and not rest.startswith(b"\r\n"):
        rest = b"\r\n" + rest
    return b"".join(fields) + rest


def _first_difference(got, want):
    n = min(len(got), len(want))
    step = 65536                        # compares by large pieces first
    at = 0
    while at < n and got[at:at + step] == want[at:at + step]:
        at += step
    at = min(at, n)
    while at < n and got[at] == want[at]:
        at += 1
    return (f"octet {at} of {len(got)}, {len(want)} wanted: got "
            f"{got[max(0, at - 20):at + 40]!r}, "
            f"want {want[max(0, at - 20):at + 40]!r}")


def difference(mail, arrived):
    """None when it arrived as it must, else a sentence."""
    verdict = VERDICT.match(arrived) if mail.way == "stranger" else None
    if verdict:
        arrived = arrived[verdict.end():]
    found = RECEIVED.match(arrived)
    if not found:
        return f"no Received line of ours first: {arrived[:300]!r}"
    rest = arrived[found.end():]
    fields, body = header_fields(mail.content)
    names = [_name(f) for f in fields]
    if mail.way == "submission":
        for name, pattern in ((b"message-id", MESSAGE_ID), (b"date", DATE)):
            if name in names:
                continue
            added = pattern.match(rest)
            if not added:
                return f"{name.decode()} was not added: {rest[:200]!r}"
            rest = rest[added.end():]
    if not fields and body and not body.startswith(b"\r\n"):
        # Else its first line would be taken for a part of our header.
        if not rest.startswith(b"\r\n"):
            return f"no empty line before the text: {rest[:100]!r}"
        rest = rest[2:]
    want = expected(mail)
    return None if rest == want else _first_difference(rest, want)
