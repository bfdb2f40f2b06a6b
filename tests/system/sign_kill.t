#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Programs of the signer, gpg, its agent and the queue die or hang at each
transition of the tables in relay/queue_sign.h and signer/job.h: what must be
signed or encrypted arrives so, or its sender is told without its content;
nothing that was accepted is lost, and nothing ever leaves as it came."""

import collections
import concurrent.futures
import os
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import people, scene, signer, smtp, tap  # noqa: E402
from lib.gateway import Held, hit  # noqa: E402

KILLS = int(os.environ.get("POSTERN_KILLS", "24"))
SEED = int(os.environ.get("POSTERN_SEED", "1"))
ANNA, SIGNED = "anna@example.test", "signed@dest.test"
BOB, CARL, NOBODY = "bob@dest.test", "carl@dest.test", "nobody@dest.test"
POSTMASTER = "postmaster@example.test"
KINDS = {"signed": [SIGNED], "sealed": [BOB], "pgp": [CARL], "large": [BOB],
         "half": [BOB, NOBODY], "incoming": [ANNA], "pgp-in": [ANNA]}
# Of each client, while programs are killed: what is sent is looked at later.
PAUSE_S = 0.04
# What the signer has at a time (relay/queue_sign.c), and some more.
OUT_MAX = 200
FLOOD = OUT_MAX + 20

s = scene.Scene(settings={"smtp.client_rate": 100000,
                          "smtp.network_rate": 100000,
                          "smtp.client_connections": 1000,
                          "smtp.network_connections": 1000,
                          "fetch.wkd": "off"}, user=False).start()
gw = s.gw
gw.expect_alarm("fatal: the spawner is gone")
# Killed when a worker asked it for its version.
gw.expect_alarm("fatal: no usable gpg")
p = people.People()
ca = ours = our_pgp = None
random.seed(SEED)


# ---- mails ----

class Mail:
    count = 0

    def __init__(self, kind):
        Mail.count += 1
        self.kind = kind
        self.token = f"token{Mail.count}x"
        self.code = 0
        self.arrived = collections.Counter()
        secret = f"secret text {self.token}\r\n"
        if kind == "large":
            secret *= 12000
        self.sender = {"incoming": BOB, "pgp-in": CARL}.get(kind, ANNA)
        head = (f"From: {self.sender}\r\nTo: {', '.join(KINDS[kind])}\r\n"
                f"Subject: secret subject {self.token}\r\n"
                f"Message-ID: <{self.token}@test.invalid>\r\n")
        entity = f"Content-Type: text/plain\r\n\r\n{secret}".encode()
        if kind == "incoming":
            entity = p.smime_encrypts(p.smime_signs(entity, "bob"), ours)
        if kind == "pgp-in":
            entity = p.pgp_signs_and_encrypts(entity, "carl", our_pgp)
        self.content = people.with_entity(head, entity)

    def send(self):
        """Whatever becomes of it; taken only if the client is told so."""
        try:
            with s.trusted() if self.sender == ANNA else s.stranger() as c:
                reply = c.submit(self.sender, KINDS[self.kind], self.content)
                self.code = reply.code
                self.id = smtp.message_id(reply)
        except (OSError, smtp.Disconnected):
            self.code = 421
        return self


mails = {}


def new_mail(kind):
    mail = Mail(kind)
    mails[mail.token] = mail
    return mail


def send(kinds):
    """Each by a client of its own; futures of the mails."""
    return [pool.submit(new_mail(kind).send) for kind in kinds]


def taken(futures):
    return [f.result() for f in futures]


# ---- what arrived ----

def inside_of(message):
    """What its recipient reads; None: it is not protected as it must be."""
    content, [to] = message.content, message.recipients
    if to == ANNA:
        return content if b" sig=pass;" in content else None
    if to == SIGNED:
        return p.smime_verifies(content, ca)
    if b"secret text" in content:
        return None
    if to == CARL:
        return p.pgp_decrypts(content, "carl", ANNA)
    entity = p.smime_decrypts(content, "bob")
    return entity and p.smime_verifies(entity, ca)


def look_at(message):
    """The mail that it is, and what is wrong with it."""
    if message.sender == "":
        found = re.search(rb"Message-ID: <(token\d+x)@", message.content)
        mail = mails.get(found[1].decode()) if found else None
        if b"secret" in message.content:
            return mail, "a notification tells the secret"
        return mail, None
    found = re.search(rb"(?m)^Message-ID: <(token\d+x)@", message.content)
    mail = mails[found[1].decode()]
    inside = inside_of(message)
    if inside is None:
        return mail, "it came unprotected: " + repr(message.content[:400])
    if f"secret text {mail.token}".encode() not in inside:
        return mail, "another content is in it"
    return mail, None


wrong = []


def collect():
    """Looks at all that came until now."""
    for sink in (s.world, s.inner):
        came = [m for m in sink.take(0) if m.recipients != [POSTMASTER]]
        for message, (mail, problem) in zip(came, pool.map(look_at, came)):
            if problem:
                wrong.append(f"{mail and mail.token}: {problem}")
            if mail:
                mail.arrived[message.recipients[0]] += 1


def is_there(mail):
    if mail.kind == "half":
        # For the other one there is a notification.
        return mail.arrived[BOB] > 0 and mail.arrived[ANNA] > 0
    return mail.arrived[KINDS[mail.kind][0]] > 0


def retry():
    gw.run_cli("queue", "retry", "--match", "to=.test", "--yes")


def arrive(what, some, doubles=0):
    """All of these come, protected; what waits is tried again at once."""
    def all_there():
        collect()
        missing = [m for m in some if m.code == 250 and not is_there(m)]
        if not missing and gw.json("queue", "summary")["messages"] == 0:
            return True
        retry()
        return False

    try:
        tap.wait_until(all_there, what="all mails", step=0.2)
    except TimeoutError:
        pass
    collect()
    tap.equal([m.token for m in some if m.code == 250 and not is_there(m)],
              [], f"{what}: nothing is lost")
    tap.equal(wrong, [], f"{what}: each came as it must, none unprotected")
    wrong.clear()
    more = sum(n - 1 for m in some for n in m.arrived.values())
    tap.ok(more <= doubles, f"{what}: {more} came twice, {doubles} may")


def nothing_left(what):
    tap.equal((s.world.messages, told()), ([], 0),
              f"{what}: nothing has left")


# ---- programs ----

def workers_held():
    """All workers of the signer, and who would start others: he first, and
    one that he has just begun, which looks like him, is waited for."""
    def held():
        spawner = signer.spawner(gw)
        if not hit([spawner], signal.SIGSTOP):
            return None
        pids = gw.pids("signerd")
        workers = [pid for pid, words in pids.items() if "--worker" in words]
        if spawner not in pids or len(pids) != len(workers) + 2:
            return None
        return Held([spawner, *workers])

    return tap.wait_until(held, what="the spawner")


def agents_held():
    return Held(signer.named(gw, "gpg-agent"))


def gpg_at_work():
    return tap.wait_until(lambda: signer.gpgs(gw), what="gpg")


def nothing_goes():
    row = gw.program("queued")
    return row["waiting"] + row["active"] == 0


def at_signer(count):
    """Until queued has that many of its messages there."""
    tap.wait_until(lambda: gw.program("queued")["signing"] == count,
                   what=f"{count} messages at the signer")


def broker_dies(what):
    """And the signer stays away meanwhile, so that nothing goes there again."""
    with Held([gw.process.pid]):
        hit([signer.broker(gw)])
        at_signer(0)
        nothing_left(what)


def signer_is_there():
    tap.wait_until(lambda: gw.program("queued")["signerd"] == "connected",
                   what="the signer")


# ---- the tests ----

def set_up():
    global ca, ours, our_pgp
    gw.cli("ca", "new", "Example CA")
    ca = p.file(gw.cli("ca", "show").encode())
    key = gw.json("key", "smime", "new", ANNA)
    ours = p.file(gw.cli("key", "smime", "export", str(key["id"])).encode())
    key = gw.json("key", "pgp", "new", ANNA)
    our_pgp = key["fingerprint"]
    p.pgp_knows(gw.cli("key", "pgp", "export", str(key["id"])).encode())
    p.new_smime("bob", BOB)
    p.new_pgp("carl", CARL)
    p.introduce(gw)
    gw.cli("policy", "add", ANNA, SIGNED, "sign", "required")
    for to in (BOB, CARL, NOBODY):
        gw.cli("policy", "add", ANNA, to, "sign", "required", "encrypt",
               "required")


def early():
    """EARLY, working: a client waits."""
    kinds = list(KINDS)
    first = taken(send(kinds))
    arrive("before", first)
    with tap.group("a client waits, and the workers die"):
        with workers_held():
            futures = send(kinds)
            at_signer(len(kinds))
            hit(signer.workers(gw))
            some = taken(futures)
        tap.equal({m.code for m in some}, {250}, "all are taken")
        nothing_left("they wait")
        arrive("the workers died", some)
    with tap.group("a client waits, and the signer dies"):
        with workers_held():
            futures = send(kinds)
            at_signer(len(kinds))
            hit([signer.broker(gw)])
            some = taken(futures)
        tap.equal({m.code for m in some}, {250}, "all are taken")
        arrive("the signer died", some)
    with tap.group("a client waits, and the queue dies"):
        signer_is_there()
        with workers_held():
            futures = send(kinds)
            at_signer(len(kinds))
            gw.kill("queued")
            some = taken(futures)
        tap.ok(250 not in {m.code for m in some}, "none is taken")
        signer_is_there()
        gw.wait_for_queue(0)
        collect()
        tap.equal([m.token for m in some if m.arrived], [],
                  "so none of them comes")


def waiting():
    """COMMITTING, OUT, SETTLING, QUEUED: nobody waits for them any more."""
    kinds = list(KINDS)
    with tap.group("mail that waits"):
        with workers_held():
            some = taken(send(kinds))
            tap.equal({m.code for m in some}, {250},
                      "the signer hangs: all are taken")
            at_signer(len(kinds))
            nothing_left("it hangs")
        arrive("it goes on", some)
        with workers_held():
            some = taken(send(kinds))
            hit(signer.workers(gw))
            # What was behind those at hand waits for other workers.
            tap.wait_until(
                lambda: gw.program("queued")["signing"] < len(kinds),
                what="some to be given back")
            nothing_left("the workers died")
            broker_dies("the signer died")
        signer_is_there()
        with workers_held():
            # What was signed before they were held goes.
            tap.wait_until(nothing_goes, what="deliveries")
            collect()
            retry()
            # Those over which it died are tried one at a time.
            tap.wait_until(lambda: gw.program("queued")["signing"] > 0,
                           what="one at the signer")
            gw.kill("queued")
            signer_is_there()
            nothing_left("the queue died")
        arrive("they are back", some)


def with_gpg():
    with tap.group("gpg and its agent"):
        for kind in ("pgp", "pgp-in"):
            with agents_held() as held:
                tap.ok(held.pids, "the agent hangs")
                futures = send([kind])
                hit(gpg_at_work())
                some = taken(futures)
                tap.equal(some[0].code, 250, f"{kind}, gpg dies: taken")
                nothing_left(f"{kind}, gpg died")
            arrive(f"{kind}, gpg died", some)
        with agents_held() as held:
            futures = send(["pgp"])
            gpg_at_work()
            hit(held.pids)
            some = taken(futures)
            tap.equal(some[0].code, 250, "the agent dies: taken")
        arrive("the agent died", some)
        with agents_held():
            futures = send(["pgp", "signed"])
            gpg_at_work()
            hit(signer.workers(gw, "pgp-sign"))
            some = taken(futures)
            tap.equal({m.code for m in some}, {250},
                      "the worker dies with gpg under way: taken")
        arrive("the worker died", some)


def away():
    """(none) without a signer, QUEUED, and SETTLING of many at once."""
    with tap.group("the signer is away"):
        with Held([gw.process.pid]):
            gw.kill("signerd")
            some = taken(send(["signed"] * (FLOOD - 4)
                              + ["sealed", "pgp", "large", "half"]))
            tap.equal({m.code for m in some}, {250}, "all are taken")
            nothing_left("without a signer")
            gw.cli("queue", "hold", "--match", "domain=dest.test", "--yes")
        signer_is_there()
        with workers_held():
            gw.cli("queue", "release", "--match", "domain=dest.test",
                   "--yes")
            at_signer(OUT_MAX)
            row = gw.program("queued")
            tap.equal(row["waiting_to_sign"], FLOOD - OUT_MAX,
                      "there is room for some, the others wait")
            broker_dies("it died with all of them")
        arrive("it is back", some)


def told():
    """Notifications that came, those to the postmaster aside, and those of
    a recipient without a key: no worker is needed to find that out."""
    return len([m for m in list(s.inner.messages)
                if m.recipients == [ANNA] and m.sender == ""
                and NOBODY.encode() not in m.content])


def expired():
    with tap.group("the time of a mail is over"):
        with workers_held():
            some = taken(send(["sealed", "pgp"]))
            gw.set(**{"queue.lifetime": "1s", "queue.bounce_lifetime": "1s"})
            old = time.monotonic() + 1
            tap.wait_until(lambda: time.monotonic() > old, what="its end")
            hit(signer.workers(gw))
            at_signer(0)
        tap.wait_until(lambda: retry() or told() >= 2, what="notifications")
        tap.equal(s.world.messages, [], "nothing has left")
        gw.cli("config", "unset", "queue.lifetime", "queue.bounce_lifetime")
        gw.wait_for_queue(0)
        collect()
        tap.equal([dict(m.arrived) for m in some], [{ANNA: 1}] * 2,
                  "once of each")
        tap.equal(wrong, [], "without the content and the subject")


def stream():
    """Kills while mail flows; each state is met, and nobody knows when."""
    targets = ["sign", "pgp-sign", "agent", "broker", "open", "gpg", "sign",
               "queued", "spawner", "pgp-sign", "pgp-open", "relayd"]
    lock = threading.Condition()
    done = [0]
    is_over = threading.Event()

    def client():
        while not is_over.is_set():
            with lock:
                mail = new_mail(random.choice(list(KINDS)))
            mail.send()
            with lock:
                done[0] += mail.code == 250
                lock.notify_all()
            is_over.wait(PAUSE_S)

    def kill_one(what):
        """A gpg does not live for long: nothing else is looked at."""
        if what in ("gpg", "agent"):
            return hit(signer.named(gw, "gpg-agent" if what == "agent"
                                    else "gpg"))
        if what in ("queued", "relayd"):
            return hit(gw.pids(what))
        broker, spawner, _ = signer.processes(gw)
        if what in ("broker", "spawner"):
            return hit([broker if what == "broker" else spawner])
        return hit(signer.workers(gw, what))

    with tap.group("kills while mail flows"):
        before = set(mails)
        killed = collections.Counter()
        clients = [threading.Thread(target=client) for _ in range(4)]
        for c in clients:
            c.start()
        for i in range(KILLS):
            with lock:
                goal = done[0] + random.randint(1, 4)
                lock.wait_for(lambda goal=goal: done[0] >= goal,
                              tap.PATIENCE_S)
            what = targets[i % len(targets)]
            # It may be on its way back from its last death.
            tap.wait_until(lambda what=what: kill_one(what), what=what,
                           step=0.002)
            killed[what] += 1
        is_over.set()
        for c in clients:
            c.join()
        some = [m for t, m in mails.items() if t not in before]
        tap.diag(f"count: {KILLS} kills of the signer's programs, gpg and "
                 f"the queue, {done[0]} mails taken meanwhile")
        tap.diag(f"{len(some)} mails; POSTERN_SEED={SEED}; killed: "
                 + ", ".join(f"{k} {n}" for k, n in sorted(killed.items())))
        # What was sent and not yet noted when the queue or relayd died.
        arrive("after kills", some,
               doubles=8 * (killed["queued"] + killed["relayd"]))


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    set_up()
    early()
    waiting()
    with_gpg()
    away()
    expired()
    stream()
tap.done()
