#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Thousands of varied messages arrive byte for byte, but for the header lines
that are documented; NUL, bare CR and bare LF are refused."""

import os
import queue
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import mails, scene, smtp, tap  # noqa: E402

COUNT = int(os.environ.get("POSTERN_CORPUS", "2400"))
CLIENTS = 4
SHOWN = 10

s = scene.Scene(settings={"queue.memory": "64M",
                          # A poisoned mail counts as an error.
                          "smtp.max_errors": 1000,
                          "smtp.client_rate": 100000,
                          "smtp.network_rate": 100000}).start()
todo = queue.Queue()
results = {}
broken = []


class Sender(threading.Thread):
    """Takes mails off the list; keeps one connection for each way."""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.number = number
        self.clients = {}

    def client(self, way):
        if way not in self.clients:
            if way == "submission" and self.number % 2:
                c = smtp.Client(s.ports["submissions"],
                                tls=smtp.tls_context())
                c.login("anna", scene.PASSWORD)
            elif way == "submission":
                c = s.login()
            elif way == "trusted":
                c = s.trusted()
            else:
                c = s.stranger()
            self.clients[way] = c
        return self.clients[way]

    def send(self, mail):
        c = self.client(mail.way)
        domain = "example.test" if mail.way == "stranger" else "dest.test"
        words = " BODY=8BITMIME" if mail.number % 2 else ""
        if mail.number % 3 == 0:
            words += f" SIZE={len(mail.content)}"
        c.send(f"MAIL FROM:<{mail.sender}>{words}\r\n"
               f"RCPT TO:<m{mail.number}@{domain}>\r\nDATA\r\n")
        replies = [c.reply() for _ in range(3)]
        if replies[2].code != 354:
            return [r for r in replies if r.code not in (250, 354)][0]
        c.send(smtp.stuffed(mail.content) if mail.wire is None
               else mail.wire)
        return c.reply()

    def run(self):
        while True:
            mail = todo.get()
            if mail is None:
                return
            try:
                reply = self.send(mail)
                results[mail.number] = (reply.code, reply.text)
                if reply.code == 421:
                    self.clients.pop(mail.way).close()
            except Exception as e:  # the connection is of no use any more
                results[mail.number] = (0, repr(e))
                self.clients.pop(mail.way, None)


def check_replies(sent):
    wrong = [m for m in sent if (results[m.number][0] == 250) != m.kept
             or not m.kept and results[m.number][0] not in (550, 554)]
    for m in wrong[:SHOWN]:
        tap.diag(f"{m}: {results[m.number]}")
    tap.equal(len(wrong), 0, "each is taken, or refused, as it should be")


def check_arrivals(sent):
    wanted = {f"m{m.number}": m for m in sent
              if m.kept and results[m.number][0] == 250}
    tap.wait_until(
        lambda: len(s.world.messages) + len(s.inner.messages) >= len(wanted),
        what="all mails to arrive", step=0.1)
    came, doubles, foreign, wrong = set(), 0, 0, []
    for arrived in s.world.messages + s.inner.messages:
        key = arrived.recipients[0].split("@")[0]
        if key not in wanted:
            foreign += 1
            continue
        doubles += key in came
        came.add(key)
        mail = wanted[key]
        if arrived.sender != mail.sender:
            wrong.append(f"{mail}: sender {arrived.sender}")
        why = mails.difference(mail, arrived.content)
        if why:
            wrong.append(f"{mail}: {why}")
    for text in wrong[:SHOWN]:
        tap.diag(text)
    tap.equal(len(wrong), 0, "each arrived byte for byte")
    tap.equal(len(wanted) - len(came), 0, "each arrived")
    tap.equal((doubles, foreign), (0, 0), "none twice, none other")
    tap.ok(len(came) >= min(COUNT, 2000), f"{len(came)} messages arrived")


with tap.group("the messages"):
    all_mails = []
    threads = [Sender(n) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for mail in mails.generate(COUNT):
        all_mails.append(mail)
        todo.put(mail)
    for thread in threads:
        todo.put(None)
    for thread in threads:
        thread.join()
    check_replies(all_mails)
    check_arrivals(all_mails)
    s.gw.wait_for_queue(0)
    tap.ok(True, "the queue is empty at the end")

tap.done()
