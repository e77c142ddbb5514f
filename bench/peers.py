"""Postfix + Dovecot in a throw-away folder on free loopback ports, for bench.py. Needs root and Debian's packages.

peer       as the packages come: a login process and an imap process for each connection, no password cache
peer-fast  their own advice for busy machines: login processes that serve many, imap processes used again, password cache

Both deliver by Postfix' smtp server, queue and lmtp client into Dovecot's lmtp and so into the Maildir, and both take the
same SHA512-CRYPT passwords as postamt. Limits that would refuse the load are raised; nothing else is turned off.
"""
import os
import pwd
import shutil
import socket
import subprocess
import time

import instance

NEEDED = ["/usr/sbin/postfix", "/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3"]
PORTS = ["smtp", "imap_plain", "imaps", "pop3_plain", "pop3s", "unused"]
VMAIL = 65534  # nobody owns the mail, as with postamt here
START_SECONDS = 20

MASTER_CF = """{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN_CF = """compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {d}/postfix.log
maillog_file_prefixes = {d}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = example.test
virtual_mailbox_maps = texthash:{d}/users
virtual_transport = lmtp:unix:{d}/run/lmtp
smtpd_client_connection_count_limit = 0
"""

DOVECOT = """base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/dovecot.log
protocols = imap pop3 lmtp
listen = 127.0.0.1
mail_location = maildir:{d}/mail/%d/%n/Maildir
mail_uid = {vmail}
mail_gid = {vmail}
first_valid_uid = 1
first_valid_gid = 1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{d}/tls.crt
ssl_key = <{d}/tls.key
mail_max_userip_connections = 1000
passdb {{
  driver = passwd-file
  args = {d}/passwd
}}
userdb {{
  driver = static
  args = uid={vmail} gid={vmail} home={d}/mail/%d/%n
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  process_limit = 1100
  inet_listener imap {{
    port = {imap_plain}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
{login}
}}
service pop3-login {{
  process_limit = 1100
  inet_listener pop3 {{
    port = {pop3_plain}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
{login}
}}
service imap {{
  process_limit = 1100
{session}
}}
service pop3 {{
  process_limit = 1100
{session}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
{lmtp}
}}
service anvil {{
  client_limit = 4000
}}
service auth {{
  client_limit = 4000
}}
service stats {{
  client_limit = 4000
}}
{more}
"""

FAST = {"login": "  service_count = 0\n  process_min_avail = 2\n  client_limit = 1000",
        "session": "  service_count = 1000\n  process_min_avail = 4",
        "lmtp": "  process_min_avail = 4",
        "more": "auth_cache_size = 10M"}
PLAIN = {"login": "", "session": "", "lmtp": "", "more": ""}


class PeersError(Exception):
    pass


def call(*args, **kw):
    r = subprocess.run(args, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **kw)
    if r.returncode != 0:
        raise PeersError(f"{' '.join(args)} ended with {r.returncode}: {(r.stderr or r.stdout).strip()[-600:]}")
    return r.stdout


def hashed(password):
    """One salt for all: the hash takes as long as any."""
    return call("openssl", "passwd", "-6", "-salt", "postamtbench", password).strip()


def write(path, text, mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


class Peer:
    """Postfix and Dovecot; stop() leaves nothing running."""

    def __init__(self, name, folder, users, password, variant):
        self.name, self.folder, self.password = name, os.path.abspath(folder), password
        d = self.folder
        self.ports = dict(zip(PORTS, instance.free_ports(len(PORTS))))
        self.maildir = d + "/mail/example.test/u%d/Maildir"
        for sub in ("queue", "data", "run", "state", "mail", "etc"):
            os.makedirs(f"{d}/{sub}", exist_ok=True)
        os.chmod(d, 0o755)
        os.chown(f"{d}/mail", VMAIL, VMAIL)
        os.chown(f"{d}/data", pwd.getpwnam("postfix").pw_uid, -1)
        self.accounts(users)
        call("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
             "-subj", "/CN=mail.example.test", "-keyout", f"{d}/tls.key", "-out", f"{d}/tls.crt")
        write(f"{d}/etc/main.cf", MAIN_CF.format(d=d))
        write(f"{d}/etc/master.cf", MASTER_CF.format(**self.ports))
        write(f"{d}/dovecot.conf", DOVECOT.format(d=d, vmail=VMAIL, **self.ports, **variant))
        self.dovecot = self.postfix = None
        try:
            self.start()
        except BaseException:  # SIGTERM too
            self.stop()
            raise

    def accounts(self, users):
        crypted = hashed(self.password)
        names = [f"u{i}@example.test" for i in range(users)]
        write(f"{self.folder}/passwd", "".join(f"{n}:{{SHA512-CRYPT}}{crypted}::::::\n" for n in names))
        write(f"{self.folder}/users", "".join(f"{n} x\n" for n in names))

    def start(self):
        d = self.folder
        with open(f"{d}/stderr", "ab") as err:
            self.dovecot = subprocess.Popen(["dovecot", "-F", "-c", f"{d}/dovecot.conf"], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err, start_new_session=True)
        call("postfix", "-c", f"{d}/etc", "start")
        with open(f"{d}/queue/pid/master.pid") as f:
            self.postfix = int(f.read())
        deadline = time.monotonic() + START_SECONDS
        for name in PORTS[:-1]:
            while True:
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                        break
                if time.monotonic() > deadline or self.dovecot.poll() is not None:
                    raise PeersError(f"{self.name}: nobody answers on the {name} port; see {d}/dovecot.log, {d}/postfix.log")
                time.sleep(0.1)

    def restart(self):
        self.stop()
        self.start()

    def pids(self):
        return instance.descendants(self.dovecot.pid) + instance.descendants(self.postfix)

    def stop(self):
        if self.postfix:
            instance.end(self.postfix)
        if self.dovecot:
            instance.end(self.dovecot.pid)
            self.dovecot.wait(timeout=10)


def makers(users, password):
    """What can be had here: name -> function of a folder."""
    if os.getuid() != 0 or not all(os.path.exists(x) for x in NEEDED) or not shutil.which("openssl"):
        return {}
    return {"peer": lambda folder: Peer("peer", folder, users, password, PLAIN),
            "peer-fast": lambda folder: Peer("peer-fast", folder, users, password, FAST)}
