#!/usr/bin/python3
# SPDX-License-Identifier: ISC
# tests/run: release
"""Real mail programs log in and send: swaks, msmtp, gsasl, curl, Python's
smtplib, nodemailer.  Each is refused with a wrong password."""

import os
import shutil
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import certs, scene, tap  # noqa: E402
from lib.gateway import temporary_folder  # noqa: E402

s = scene.Scene(settings={"auth.allow_login": "on",
                          "auth.tries_per_minute": 1000})
ca = certs.Authority()
s.gw.cli("tls", "install", *ca.issue("gw.example.test", "localhost"))
s.start()
folder = temporary_folder()
STARTTLS, TLS = s.ports["submission"], s.ports["submissions"]
USER, ADDRESS, TO = "anna", "anna@example.test", "b@dest.test"
WRONG = "not it"


def run(*words, input=None, env=None):
    got = subprocess.run(words, input=input, capture_output=True, text=True,
                         timeout=tap.PATIENCE_S, check=False,
                         env=dict(os.environ, **(env or {})))
    got.words = got.stdout + got.stderr
    return got


def path(name, text, mode=0o600):
    file = os.path.join(folder, name)
    with open(file, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(file, mode)
    return file


def arrives(name, subject, result, tls=True):
    """The program said that it worked, and the mail is there."""
    if not tap.equal(result.returncode, 0, f"{name} sends"):
        tap.diag(result.words[-2000:])
        return
    [m] = s.world.take()
    tap.equal((m.sender, m.recipients, m.field("Subject")),
              (ADDRESS, [TO], subject), f"{name}: it arrives")
    tap.contains(m.header.split(b"\r\nFrom")[0], b"with ESMTPSA",
                 f"{name}: Received tells of TLS and login")


def refused(name, result):
    tap.ok(result.returncode != 0, f"{name}: a wrong password is refused")
    tap.equal(s.world.messages, [], f"{name}: and nothing is sent")


def has(program):
    if shutil.which(program):
        return True
    tap.skip(program, "not installed")
    return False


MAIL = f"From: {ADDRESS}\nTo: {TO}\nSubject: %s\n\nhello\n"

if has("swaks"):
    with tap.group("swaks"):
        def swaks(subject, password, *more):
            return run("swaks", "--from", ADDRESS, "--to", TO, "--auth-user",
                       USER, "--auth-password", password, "--header",
                       f"Subject: {subject}", "--tls-verify",
                       "--tls-ca-path", ca.cert, *more)

        for kind, more in (
                ("STARTTLS PLAIN", ("--server", f"localhost:{STARTTLS}",
                                    "--tls", "--auth", "PLAIN")),
                ("STARTTLS LOGIN", ("--server", f"localhost:{STARTTLS}",
                                    "--tls", "--auth", "LOGIN")),
                ("TLS PLAIN", ("--server", f"localhost:{TLS}",
                               "--tls-on-connect", "--auth", "PLAIN"))):
            arrives(f"swaks {kind}", kind,
                    swaks(kind, scene.PASSWORD, *more))
            refused(f"swaks {kind}", swaks(kind, WRONG, *more))
        got = run("swaks", "--server", f"localhost:{STARTTLS}", "--from",
                  ADDRESS, "--to", TO, "--auth", "PLAIN", "--auth-user",
                  USER, "--auth-password", scene.PASSWORD)
        tap.equal(got.returncode, 28, "swaks finds no AUTH before TLS")
        got = run("swaks", "--server", f"localhost:{s.ports['smtp']}",
                  "--tls", "--from", ADDRESS, "--to", TO, "--auth", "PLAIN",
                  "--auth-user", USER, "--auth-password", scene.PASSWORD)
        tap.equal(got.returncode, 28, "swaks finds no AUTH on port 25")

if has("msmtp"):
    with tap.group("msmtp"):
        def msmtp(method, subject, password, port=STARTTLS, starttls="on"):
            config = path("msmtprc", f"""
account default
host localhost
port {port}
from {ADDRESS}
auth {method}
user {USER}
password {password}
tls on
tls_starttls {starttls}
tls_trust_file {ca.cert}
""")
            return run("msmtp", "-C", config, TO, input=MAIL % subject)

        for method in ("plain", "login", "scram-sha-256"):
            arrives(f"msmtp {method}", method,
                    msmtp(method, method, scene.PASSWORD))
            refused(f"msmtp {method}", msmtp(method, method, WRONG))
        arrives("msmtp in TLS", "465", msmtp("scram-sha-256", "465",
                                             scene.PASSWORD, TLS, "off"))

if has("gsasl"):
    with tap.group("gsasl"):
        def gsasl(mechanism, password, *more):
            return run("gsasl", "--smtp", "--connect",
                       f"localhost:{STARTTLS}", "--mechanism", mechanism,
                       "--authentication-id", USER, "--password", password,
                       "--x509-ca-file", ca.cert, "--hostname",
                       "localhost", *more)

        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
            for version in ("1.3", "1.2"):
                more = ["--priority",
                        f"NORMAL:-VERS-ALL:+VERS-TLS{version}"]
                # With a binding at hand it insists on -PLUS.
                if not mechanism.endswith("PLUS"):
                    more.append("--no-cb")
                got = gsasl(mechanism, scene.PASSWORD, *more)
                if not tap.contains(got.words, "235",
                                    f"gsasl {mechanism}, TLS {version}"):
                    tap.diag(got.words[-2000:])
                got = gsasl(mechanism, WRONG, *more)
                tap.ok("235" not in got.words and got.returncode != 0,
                       f"gsasl {mechanism}, TLS {version}, wrong password")

if has("curl"):
    with tap.group("curl"):
        def curl(subject, password, url, *more):
            file = path("mail", (MAIL % subject).replace("\n", "\r\n"))
            return run("curl", "--silent", "--show-error", "--url", url,
                       "--ssl-reqd", "--cacert", ca.cert, "--mail-from",
                       ADDRESS, "--mail-rcpt", TO, "--upload-file", file,
                       "--user", f"{USER}:{password}", *more)

        for kind, url, more in (
                ("curl PLAIN", f"smtp://localhost:{STARTTLS}/client.test",
                 ("--login-options", "AUTH=PLAIN")),
                ("curl LOGIN", f"smtp://localhost:{STARTTLS}/client.test",
                 ("--login-options", "AUTH=LOGIN")),
                ("curl smtps", f"smtps://localhost:{TLS}/client.test", ())):
            arrives(kind, kind, curl(kind, scene.PASSWORD, url, *more))
            refused(kind, curl(kind, WRONG, url, *more))

with tap.group("smtplib"):
    import ssl
    trust = ssl.create_default_context(cafile=ca.cert)
    for kind in ("STARTTLS", "TLS"):
        if kind == "TLS":
            c = smtplib.SMTP_SSL("localhost", TLS, context=trust)
        else:
            c = smtplib.SMTP("localhost", STARTTLS)
            try:
                c.login(USER, scene.PASSWORD)
                tap.fail("smtplib finds no AUTH before TLS")
            except smtplib.SMTPNotSupportedError:
                tap.ok(True, "smtplib finds no AUTH before TLS")
            c.starttls(context=trust)
        try:
            c.login(USER, WRONG)
            tap.fail(f"smtplib {kind}: a wrong password")
        except smtplib.SMTPAuthenticationError as e:
            tap.equal(e.smtp_code, 535, f"smtplib {kind}: a wrong password")
        c.login(USER, scene.PASSWORD)
        c.sendmail(ADDRESS, [TO], MAIL % kind)
        c.quit()
        [m] = s.world.take()
        tap.equal(m.field("Subject"), kind, f"smtplib {kind}: it arrives")

if has("node"):
    with tap.group("nodemailer"):
        script = path("send.js", """
const nodemailer = require('nodemailer');
const fs = require('fs');
const [port, secure, method, user, pass, ca, from, to, subject] =
    process.argv.slice(2);
nodemailer.createTransport({
    host: 'localhost', port: Number(port), secure: secure === 'yes',
    requireTLS: true, authMethod: method, auth: { user, pass },
    tls: { ca: fs.readFileSync(ca) } })
  .sendMail({ from, to, subject, text: 'hello', html: '<p>hello</p>',
      attachments: [{ filename: 'a.bin', content: Buffer.alloc(5000, 7) }] })
  .then(i => console.log(i.response),
        e => { console.error(e.message); process.exit(1); });
""")

        def node(subject, password, port, secure, method):
            return run("node", script, str(port), secure, method, USER,
                       password, ca.cert, ADDRESS, TO, subject,
                       env={"NODE_PATH": "/usr/share/nodejs"})

        found = run("node", "-e", "require('nodemailer')",
                    env={"NODE_PATH": "/usr/share/nodejs"})
        if found.returncode != 0:
            tap.skip("nodemailer", "not installed")
        else:
            for kind, port, secure, method in (
                    ("nodemailer PLAIN", STARTTLS, "no", "PLAIN"),
                    ("nodemailer LOGIN", STARTTLS, "no", "LOGIN"),
                    ("nodemailer TLS", TLS, "yes", "PLAIN")):
                arrives(kind, kind, node(kind, scene.PASSWORD, port, secure,
                                         method))
                refused(kind, node(kind, WRONG, port, secure, method))

tap.done()
