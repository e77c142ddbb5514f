"""Real mail servers on loopback: Postfix, Exim and OpenSMTPD as Debian has them, none of them installed.

    reason = peers.missing()                    why none can be had here; None: they can
    with peers.start("postfix", "127.0.0.4", port, ["remote.test"]) as p:
        p.find("subject")                       octets of the one message with that subject in its mailbox
        p.send(sender, [recipient], text)       hands it a message by SMTP, as its own user would
        p.log()

kind: one of KINDS. domains: all their addresses end in one Maildir. relay: {domain: (host, port)} where it sends mail for
others. leaf: a certs.Leaf, STARTTLS is offered with it; require_tls: no mail without. Debian 12's OpenSMTPD offers it and
then fails every handshake (it was not made for OpenSSL 3): what such servers want of a client is mail in clear.

The packages exclude each other, so they are fetched (apt-get download), unpacked into POSTAMT_BUILD/peers/base with
the libraries they need, and each server runs in a copy of that made of hard links, in a chroot, where it finds its own
users, sockets and spool at the places it was built for. That takes root; each gives it up as it always does.
"""
import email.utils
import fcntl
import glob
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

import instance

KINDS = ["postfix", "exim", "opensmtpd"]
PACKAGES = ["postfix", "exim4-base", "exim4-daemon-light", "opensmtpd", "libidn12", "libgnutls-dane0", "libicu72", "libnsl2",
            "libtirpc3", "libevent-2.1-7"]
PROGRAMS = ["/usr/sbin/exim4", "/usr/sbin/smtpd", "/usr/sbin/smtpctl", "/usr/libexec/opensmtpd/*", "/usr/lib/postfix/sbin/*",
            "/usr/sbin/postqueue", "/usr/sbin/postdrop"]
CACHE = os.path.join(instance.BUILD, "peers")
START_SECONDS = 20

# name, uid; the group has the same name and number
USERS = [("root", 0), ("postfix", 701), ("Debian-exim", 703), ("opensmtpd", 704), ("opensmtpq", 705), ("vmail", 706), ("nobody", 65534)]
GROUPS = [(n, u) for n, u in USERS] + [("postdrop", 702), ("mail", 8)]
VMAIL = 706

MAIN_CF = """compatibility_level = 3.6
maillog_file = /log/postfix
maillog_file_prefixes = /log
inet_interfaces = all
inet_protocols = ipv4
myhostname = {name}
mydestination =
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = {domains}
virtual_mailbox_base = /mail
virtual_mailbox_maps = static:all/
virtual_minimum_uid = 1
virtual_uid_maps = static:{vmail}
virtual_gid_maps = static:{vmail}
transport_maps = texthash:/etc/postfix/transport
alias_maps =
minimal_backoff_time = 5s
queue_run_delay = 5s
smtpd_client_connection_count_limit = 0
smtputf8_enable = yes
{tls}
"""

MASTER_CF = """{address}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

EXIM_CONF = """primary_hostname = {name}
local_interfaces = {address}
daemon_smtp_ports = {port}
spool_directory = /var/spool/exim4
log_file_path = /log/exim-%s
domainlist ours = {colons}
domainlist others = {others}
acl_smtp_rcpt = rcpt
acl_smtp_mail = mail
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = *
never_users = root
{tls}
begin acl
mail:
  {require}
  accept
rcpt:
  accept domains = +ours : +others
  accept hosts = 127.0.0.0/8
begin routers
relay:
  driver = manualroute
  domains = +others
  route_data = ${{lookup{{$domain}}lsearch{{/etc/relay}}}}
  transport = onward
  self = send
here:
  driver = accept
  domains = +ours
  transport = maildir
begin transports
onward:
  driver = smtp
  allow_localhost
  hosts_try_dane = :
  dnssec_request_domains = :
maildir:
  driver = appendfile
  directory = /mail/all
  maildir_format
  delivery_date_add
  envelope_to_add
  return_path_add
  user = vmail
  group = vmail
begin retry
* * F,1h,5s
"""


class PeerError(Exception):
    pass


def missing():
    if os.getuid() != 0:
        return "only root can run other mail servers in folders of their own"
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "no apt-get here"
    try:
        base()
    except PeerError as e:
        return str(e)
    return None


def call(*args, **kw):
    r = subprocess.run(args, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, **kw)
    if r.returncode != 0:
        raise PeerError(f"{' '.join(args)[:200]} ended with {r.returncode}: {(r.stderr or r.stdout).strip()[-600:]}")
    return r.stdout


def base():
    """The folder that copies are made of; made once."""
    os.makedirs(CACHE, exist_ok=True)
    done = os.path.join(CACHE, "base")
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(done):
            shutil.rmtree(done + ".new", ignore_errors=True)
            os.makedirs(done + ".new")
            unpack(done + ".new")
            os.rename(done + ".new", done)
    return done


def unpack(root):
    if len(glob.glob(CACHE + "/*.deb")) < len(PACKAGES):
        call("apt-get", "download", "-qq", *PACKAGES, cwd=CACHE)
    for deb in glob.glob(CACHE + "/*.deb"):
        call("dpkg", "-x", deb, root)
    for sub in ("usr/share", "etc", "var", "lib/systemd", "run"):
        shutil.rmtree(os.path.join(root, sub), ignore_errors=True)
    libraries(root)
    for sub in ("etc/postfix", "etc/exim4", "dev", "tmp", "log", "mail", "var/empty"):
        os.makedirs(os.path.join(root, sub))
    with open(root + "/etc/passwd", "w") as f:
        f.write("".join(f"{n}:x:{u}:{u}::/:/bin/sh\n" for n, u in USERS))
    with open(root + "/etc/group", "w") as f:
        f.write("".join(f"{n}:x:{u}:\n" for n, u in GROUPS))


def libraries(root):
    """Into the folder: what the programs are linked with, and a shell, which OpenSMTPD calls its mailers with."""
    os.makedirs(root + "/bin", exist_ok=True)
    shutil.copy(os.path.realpath("/bin/sh"), root + "/bin/sh")
    programs = [p for pattern in PROGRAMS + ["/bin/sh"] for p in glob.glob(root + pattern)]
    env = dict(os.environ, LD_LIBRARY_PATH=":".join([root + "/usr/lib/postfix", *glob.glob(root + "/usr/lib/*-linux-gnu")]))
    needed = set()
    for p in programs:
        with open(p, "rb") as f:
            if f.read(4) != b"\x7fELF":
                continue
        said = call("ldd", p, env=env)
        lost = re.findall(r"(\S+) => not found", said)
        if lost:
            raise PeerError(f"{p[len(root):]} needs {' '.join(lost)}")
        needed |= set(re.findall(r"(/\S+) \(0x", said))
    for lib in needed:
        if not lib.startswith(root):
            os.makedirs(root + os.path.dirname(lib), exist_ok=True)
            shutil.copy(os.path.realpath(lib), root + lib)


def start(kind, address, port, domains, relay=None, leaf=None, require_tls=False, name=None):
    return {"postfix": Postfix, "exim": Exim, "opensmtpd": OpenSmtpd}[kind](address, port, domains, relay or {}, leaf, require_tls,
                                                                           name or f"{kind}.test")


class Peer:
    def __init__(self, address, port, domains, relay, leaf, require_tls, name):
        self.address, self.port, self.domains, self.relay, self.leaf = address, port, domains, relay, leaf
        self.require_tls, self.name, self.process = require_tls, name, None
        self.root = tempfile.mkdtemp(prefix="run-", dir=CACHE)
        try:
            shutil.copytree(base(), self.root, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
            os.chmod(self.root, 0o755)
            self.prepare()
            self.setup()
            self.launch()
        except BaseException:
            self.stop()
            raise

    # --- its folder ---

    def path(self, inside):
        return self.root + inside

    def folder(self, inside, mode=0o755, user="root", group=None):
        os.makedirs(self.path(inside), exist_ok=True)
        os.chmod(self.path(inside), mode)
        os.chown(self.path(inside), dict(USERS)[user], dict(GROUPS)[group or user])

    def write(self, inside, text, mode=0o644):
        with open(self.path(inside), "w") as f:
            f.write(text)
        os.chmod(self.path(inside), mode)

    def prepare(self):
        self.folder("/tmp", 0o1777)
        self.folder("/log", 0o1777)
        self.folder("/mail", 0o755, "vmail")
        self.write("/etc/hosts", f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        self.write("/etc/services", "smtp 25/tcp\ndomain 53/udp\n")
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.write("/etc/mailname", self.name + "\n")
        for n, minor in (("null", 3), ("urandom", 9), ("random", 8)):
            try:
                os.mknod(self.path("/dev/" + n), 0o666 | 0o020000, os.makedev(1, minor))
            except PermissionError:  # a container's root; they read 32 octets of it
                with open(self.path("/dev/" + n), "wb") as f:
                    f.write(b"" if n == "null" else os.urandom(1 << 16))
            os.chmod(self.path("/dev/" + n), 0o666)
        if self.leaf:
            for source, inside in ((self.leaf.chain, "/etc/tls.pem"), (self.leaf.key, "/etc/tls.key")):
                with open(source) as f:
                    self.write(inside, f.read(), 0o600)

    # --- its life ---

    def launch(self):
        def enter():
            os.chroot(self.root)
            os.chdir("/")
        with open(self.path("/log/stderr"), "ab") as err:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=err, stderr=err, preexec_fn=enter,
                                            start_new_session=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"})
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as s:
                if s.connect_ex((self.address, self.port)) == 0:
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise PeerError(f"{self.name} does not start: {self.log()[-3000:]}")
            time.sleep(0.05)

    def stop(self):
        if self.process:
            pids = instance.descendants(self.process.pid)
            instance.end(self.process.pid)
            for p in pids:  # those that were let go
                if instance.alive(p):
                    os.kill(p, signal.SIGKILL)
            self.process.poll()
        if not os.environ.get("POSTAMT_KEEP"):
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- what tests ask ---

    def log(self):
        out = ""
        for name in sorted(glob.glob(self.path("/log/*"))):
            with open(name, errors="replace") as f:
                out += f"== {os.path.basename(name)}\n{f.read()}"
        return out

    def messages(self):
        """Octets as they lie in the Maildir; line ends are CRLF again."""
        out = []
        for name in glob.glob(self.path("/mail/all/new/*")):
            with open(name, "rb") as f:
                out.append(re.sub(rb"\r?\n", b"\r\n", f.read()))
        return out

    def find(self, subject, seconds=20):
        deadline = time.monotonic() + seconds
        while True:
            hits = [m for m in self.messages() if f"\r\nSubject: {subject}\r\n".encode() in m.split(b"\r\n\r\n", 1)[0] + b"\r\n"]
            if len(hits) == 1:
                return hits[0]
            if time.monotonic() > deadline or hits:
                raise AssertionError(f"{len(hits)} messages at {self.name} have the subject {subject}; its log:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def send(self, sender, recipients, text):
        with smtplib.SMTP(self.address, self.port, local_hostname="client.test", timeout=20) as s:
            if self.require_tls:
                s.starttls(context=ssl._create_unverified_context())
            s.sendmail(sender, recipients, text)

    def answer(self, text, sender, recipient, subject):
        """To a message that came here, as its reader's program would write it."""
        ident = re.search(rb"(?im)^Message-ID: *(\S+)", text).group(1).decode()
        self.send(sender, [recipient], (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\nDate: {email.utils.formatdate()}\r\n"
                                        f"Message-ID: <{time.time_ns()}@{self.name}>\r\nIn-Reply-To: {ident}\r\n\r\nThank you.\r\n").encode())


class Postfix(Peer):
    def setup(self):
        self.folder("/var/spool/postfix")
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            self.folder("/var/spool/postfix/" + name, 0o700, "postfix", "root")
        self.folder("/var/spool/postfix/maildrop", 0o730, "postfix", "postdrop")
        self.folder("/var/spool/postfix/public", 0o710, "postfix", "postdrop")
        self.folder("/var/spool/postfix/pid")
        self.folder("/var/lib/postfix", 0o755, "postfix")
        tls = "smtpd_tls_security_level = none"
        if self.leaf:
            tls = (f"smtpd_tls_security_level = {'encrypt' if self.require_tls else 'may'}\nsmtpd_tls_chain_files = /etc/tls-all.pem\n"
                   "smtpd_tls_received_header = yes")
            with open(self.leaf.key) as k, open(self.leaf.chain) as c:
                self.write("/etc/tls-all.pem", k.read() + c.read(), 0o600)
        self.write("/etc/postfix/main.cf", MAIN_CF.format(address=self.address, name=self.name, domains=", ".join(self.domains), tls=tls,
                                                          vmail=VMAIL))
        self.write("/etc/postfix/master.cf", MASTER_CF.format(address=self.address, port=self.port))
        self.write("/etc/postfix/transport", "".join(f"{d} smtp:[{h}]:{p}\n" for d, (h, p) in self.relay.items()))

    def command(self):
        return ["/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d"]


class Exim(Peer):
    def setup(self):
        self.folder("/var/spool/exim4", 0o750, "Debian-exim")
        self.folder("/log", 0o755, "Debian-exim")
        self.folder("/mail/all", 0o755, "vmail")
        tls = "tls_advertise_hosts = :"
        if self.leaf:
            for name in ("/etc/tls.pem", "/etc/tls.key"):
                os.chown(self.path(name), dict(USERS)["Debian-exim"], 0)
            tls = "tls_advertise_hosts = *\ntls_certificate = /etc/tls.pem\ntls_privatekey = /etc/tls.key"
        self.write("/etc/relay", "".join(f"{d}: {h}::{p}\n" for d, (h, p) in self.relay.items()))
        self.write("/etc/exim4/exim4.conf", EXIM_CONF.format(
            name=self.name, address=self.address, port=self.port, colons=" : ".join(self.domains), others=" : ".join(self.relay), tls=tls,
            require="deny !encrypted = *" if self.require_tls else "", vmail=VMAIL))

    def command(self):
        return ["/usr/sbin/exim4", "-bdf", "-q10s"]


class OpenSmtpd(Peer):
    def setup(self):
        self.folder("/var/lib/opensmtpd/empty", 0o755)
        self.folder("/var/empty", 0o755)
        self.folder("/var/run", 0o755)
        self.folder("/run", 0o755)
        self.folder("/var/spool/smtpd", 0o711)
        for name, user, mode in (("corrupt", "opensmtpq", 0o700), ("incoming", "opensmtpq", 0o700), ("queue", "opensmtpq", 0o700),
                                 ("purge", "opensmtpq", 0o700), ("temporary", "opensmtpq", 0o700)):
            self.folder("/var/spool/smtpd/" + name, mode, user, "root")
        self.folder("/var/spool/smtpd/offline", 0o770, "root", "opensmtpq")
        tls, pki = "", ""
        if self.leaf:
            pki = f'pki {self.name} cert "/etc/tls.pem"\npki {self.name} key "/etc/tls.key"\n'
            tls = f" {'tls-require' if self.require_tls else 'tls'} pki {self.name}"
        listed = ", ".join(f'"@{d}" = vmail' for d in self.domains)
        ours = ", ".join(f'"{d}"' for d in self.domains)
        relays = "".join(f'action "to{i}" relay host smtp://{h}:{p}\nmatch from any for domain "{d}" action "to{i}"\n'
                         for i, (d, (h, p)) in enumerate(self.relay.items()))
        self.write("/etc/smtpd.conf", f"{pki}table users {{ {listed} }}\nlisten on {self.address} port {self.port}{tls} hostname {self.name}\n"
                   f'action "here" maildir "/mail/all" virtual <users>\nmatch from any for domain {{ {ours} }} action "here"\n{relays}')

    def command(self):
        return ["/usr/sbin/smtpd", "-d"]
