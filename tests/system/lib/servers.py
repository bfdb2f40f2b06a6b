# SPDX-License-Identifier: ISC
"""Real mail servers from packages that tests/deps has unpacked, each with a
folder, a configuration and a port of its own.

    p = Postfix(relay_to=sink.port)            # takes mail for any domain
    p = Postfix(smarthost=("127.0.0.1", port, "user", "password", ca))
    e = Exim(relay_to=sink.port, users={"gw": "secret"}, tls=(cert, key))

Mail that one of them has taken goes on to relay_to, or by its smarthost.
"""

import os
import pwd
import shutil
import signal
import subprocess

from . import smtp, tap
from .dns import free_port
from .gateway import die_with_parent, temporary_folder

PEERS = os.environ.get("POSTERN_PEERS", "")


def _answers(port, host="127.0.0.1"):
    try:
        with smtp.Client(port, host=host, timeout=5) as c:
            return c.greeting.code == 220
    except (OSError, smtp.Disconnected, ValueError):
        return False


class _Server:
    name = ""

    def _begin(self):
        self.folder = temporary_folder(f"postern-{self.name}-")
        self.port = free_port()
        self.process = None
        tap.at_done(lambda failed: self._at_done(failed))

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def _run(self, words, env, become=None):
        log = os.path.join(self.folder, "output")

        def begin():
            os.setpgid(0, 0)
            if become:
                become()
            die_with_parent()

        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=env, preexec_fn=begin)
        tap.wait_until(lambda: self.process.poll() is not None
                       or _answers(self.port),
                       what=f"{self.name} to answer")
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} does not start: " + self.log())

    def log(self):
        text = ""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and (
                        name == "output" or name.endswith("log")):
                    with open(path, encoding="utf-8",
                              errors="replace") as f:
                        text += f.read()
        return text

    def _at_done(self, failed):
        self.stop()
        if failed:
            tap.diag(f"{self.name} said:")
            tap.diag(self.log()[-4000:])

    def stop(self):
        if self.process is None:
            return
        process, self.process = self.process, None
        # Its whole group, which is ours alone.
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sig)
            except ProcessLookupError:
                pass
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        process.wait()


class Postfix(_Server):
    """Needs root, as Postfix does."""

    name = "postfix"

    def __init__(self, relay_to=None, smarthost=None, tls=None,
                 size_limit=52428800):
        programs = os.path.join(PEERS, "usr/lib/postfix/sbin")
        if not PEERS or not os.path.exists(programs):
            tap.skip_all("no Postfix here; tests/deps peers unpacks it")
        if os.geteuid() != 0:
            tap.skip_all("Postfix is only started by root")
        self._begin()
        libraries = os.path.join(PEERS, "usr/lib/postfix")
        spool = os.path.join(self.folder, "spool")
        data = os.path.join(self.folder, "data")
        owner = pwd.getpwnam("daemon")
        for name in ("active", "bounce", "corrupt", "defer", "deferred",
                     "flush", "hold", "incoming", "maildrop", "pid",
                     "private", "public", "saved", "trace"):
            os.makedirs(os.path.join(spool, name))
            if name != "pid":
                os.chown(os.path.join(spool, name), owner.pw_uid, 0)
        os.makedirs(data)
        os.chown(data, owner.pw_uid, 0)
        main = {
            "compatibility_level": "3.6", "queue_directory": spool,
            "data_directory": data, "daemon_directory": programs,
            "command_directory": os.path.join(PEERS, "usr/sbin"),
            "shlib_directory": libraries,
            # Users that every Debian has.
            "mail_owner": "daemon", "setgid_group": "games",
            "default_privs": "nobody", "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "myhostname": "postfix.test",
            "mydestination": "", "mynetworks": "127.0.0.0/8",
            "alias_maps": "", "alias_database": "",
            "local_recipient_maps": "", "biff": "no",
            "smtp_dns_support_level": "disabled",
            "smtp_host_lookup": "native",
            "message_size_limit": str(size_limit),
            "maillog_file": os.path.join(self.folder, "maillog"),
            "maillog_file_prefixes": self.folder,
            "import_environment": f"MAIL_CONFIG={self.folder}/etc "
                                  f"LD_LIBRARY_PATH={libraries} TZ=UTC",
            "minimal_backoff_time": "1s", "maximal_backoff_time": "2s",
            "queue_run_delay": "1s", "smtpd_client_connection_count_limit":
                "0", "smtpd_peername_lookup": "no",
        }
        if relay_to:
            main["default_transport"] = f"smtp:[127.0.0.1]:{relay_to}"
            main["relayhost"] = f"[127.0.0.1]:{relay_to}"
            main["smtp_tls_security_level"] = "may"
        if smarthost:
            host, port, user, password, ca = smarthost
            next_hop = f"[{host}]:{port}"
            self._write("etc/password", f"{next_hop} {user}:{password}\n",
                        0o600)
            main.update({
                "relayhost": next_hop, "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_password_maps":
                    f"texthash:{self.folder}/etc/password",
                "smtp_sasl_security_options": "noanonymous",
                "smtp_tls_security_level": "verify" if ca else "encrypt",
                "smtp_tls_CAfile": ca or ""})
        if tls:
            main.update({"smtpd_tls_cert_file": tls[0],
                         "smtpd_tls_key_file": tls[1],
                         "smtpd_tls_security_level": "may"})
        self._write("etc/main.cf", "".join(
            f"{key} = {value}\n" for key, value in main.items()))
        rows = [f"127.0.0.1:{self.port} inet n - n - - smtpd"]
        rows += [f"{name} unix {privacy} - n {wake} {limit} {command}"
                 for name, privacy, wake, limit, command in (
                     ("pickup", "n", "60", "1", "pickup"),
                     ("cleanup", "n", "-", "0", "cleanup"),
                     ("qmgr", "n", "300", "1", "qmgr"),
                     ("tlsmgr", "-", "1000?", "1", "tlsmgr"),
                     ("rewrite", "-", "-", "-", "trivial-rewrite"),
                     ("bounce", "-", "-", "0", "bounce"),
                     ("defer", "-", "-", "0", "bounce"),
                     ("trace", "-", "-", "0", "bounce"),
                     ("verify", "-", "-", "1", "verify"),
                     ("flush", "n", "1000?", "0", "flush"),
                     ("proxymap", "-", "-", "-", "proxymap"),
                     ("smtp", "-", "-", "-", "smtp"),
                     ("relay", "-", "-", "-", "smtp"),
                     ("error", "-", "-", "-", "error"),
                     ("retry", "-", "-", "-", "error"),
                     ("discard", "-", "-", "-", "discard"),
                     ("anvil", "-", "-", "1", "anvil"),
                     ("scache", "-", "-", "1", "scache"))]
        rows.append("postlog unix-dgram n - n - 1 postlogd")
        self._write("etc/master.cf", "\n".join(rows) + "\n")
        env = dict(os.environ, MAIL_CONFIG=os.path.join(self.folder, "etc"),
                   LD_LIBRARY_PATH=libraries)
        env.pop("LD_PRELOAD", None)
        self._run([os.path.join(programs, "master"), "-c",
                   os.path.join(self.folder, "etc"), "-d"], env)


EXIM_CONFIG = """
primary_hostname = exim.test
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = {tls_hosts}
{tls_lines}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = check_rcpt
host_lookup =
rfc1413_hosts =
smtp_accept_max_per_host = 0
prdr_enable = false
chunking_advertise_hosts =
dsn_advertise_hosts = *
message_size_limit = 50M
split_spool_directory = false
queue_run_max = 2
keep_environment =
exim_user = nobody
exim_group = nogroup
deliver_drop_privilege
add_environment =

begin acl
check_rcpt:
  accept authenticated = *
  accept condition = {is_open}
  deny message = log in first

begin routers
on:
  driver = manualroute
  domains = *
  transport = remote
  route_list = * 127.0.0.1 byname
  self = send
  no_more

begin transports
remote:
  driver = smtp
  port = {next_port}
  allow_localhost
  hosts_try_fastopen =
  hosts_try_chunking =
  command_timeout = 30s
{remote_lines}

begin retry
* * F,1h,1s

begin authenticators
{authenticators}
"""


class Exim(_Server):
    """users: {name: password}, who may relay through it after TLS; without
    any, everybody may."""

    name = "exim"

    def __init__(self, relay_to=None, smarthost=None, users=None, tls=None):
        program = os.path.join(PEERS, "usr/sbin/exim4")
        if not PEERS or not os.path.exists(program):
            tap.skip_all("no Exim here; tests/deps peers unpacks it")
        if os.geteuid() != 0:
            tap.skip_all("Exim is only started by root")
        self._begin()
        # The tree may be where others than root have no way to.
        program = shutil.copy(program, self.folder)
        # To the user that it was built for it would refuse a configuration
        # of another name; to others it is a program without privileges.
        user = pwd.getpwnam("nobody")
        if tls:
            tls = [shutil.copy(path, self.folder) for path in tls]
            os.chown(tls[1], user.pw_uid, user.pw_gid)
        authenticators, remote = "", ""
        next_port = relay_to
        if users:
            # Any of them: ${if or {{and {{eq..}{eq..}}}...}}
            names = "${if or {" + "".join(
                f"{{and{{{{eq{{$auth2}}{{{name}}}}}{{eq{{$auth3}}{{{word}}}}}}}"
                "}" for name, word in users.items()) + "}}"
            authenticators += (
                "plain_server:\n  driver = plaintext\n"
                "  public_name = PLAIN\n  server_prompts = :\n"
                f"  server_condition = {names}\n  server_set_id = $auth2\n")
        if smarthost:
            _, next_port, name, password, ca = smarthost
            authenticators += (
                "plain_client:\n  driver = plaintext\n"
                "  public_name = PLAIN\n"
                f"  client_send = ^{name}^{password}\n")
            remote = "  hosts_require_auth = *\n  hosts_require_tls = *\n"
            remote += (f"  tls_verify_certificates = {ca}\n" if ca else
                       "  tls_verify_hosts =\n  tls_try_verify_hosts =\n")
            if ca:
                remote += ("  tls_verify_hosts = *\n"
                           "  tls_verify_cert_hostnames =\n")
        config = self._write("exim.conf", EXIM_CONFIG.format(
            exim=program, folder=self.folder, port=self.port,
            tls_hosts="*" if tls else "",
            tls_lines=(f"tls_certificate = {tls[0]}\n"
                       f"tls_privatekey = {tls[1]}") if tls else "",
            is_open="false" if users else "true", next_port=next_port,
            remote_lines=remote, authenticators=authenticators))
        spool = os.path.join(self.folder, "spool")
        os.makedirs(spool)
        for path in (self.folder, spool):
            os.chown(path, user.pw_uid, user.pw_gid)

        def become():
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

        self._run([program, "-C", config, "-bdf", "-q1s"], dict(os.environ),
                  become)
