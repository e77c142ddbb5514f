"""A post office for one test program: an instance in a folder of its own, its users, helpers to send, read and look.

    def copies_are_links(o): ...                    a step: asserts; o is the Office
    sys.exit(office.main([copies_are_links, ..], users=3))

The steps run in order against one instance; each prints one line. Afterwards the log must be free of warnings and errors
(but those that a step named by o.expect_log) and nothing of the instance may be left running. needs("swaks") ends the
program with 77, the harness' "skipped", when a client is not installed.
"""
import base64
import contextlib
import glob
import hashlib
import hmac
import imaplib
import os
import poplib
import random
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

import instance

SKIPPED = 77
TIMEOUT = 30


def needs(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        sys.exit(SKIPPED)


def wait_for(what, seconds=5, every=0.02):
    """Calls what() until it is true; returns its value, the last false one after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        got = what()
        if got or time.monotonic() > deadline:
            return got
        time.sleep(every)


def message(subject, body="one line\r\n", sender="anna@elsewhere.test", to="u0@example.test", extra=""):
    """A message with all header fields that a server could want to add; octets, CRLF."""
    ident = hashlib.sha256(f"{subject}{body[:200]}{sender}{to}".encode()).hexdigest()[:16]
    return (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{ident}@elsewhere.test>\r\nMIME-Version: 1.0\r\n{extra}"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}").encode()


def lines(octets, seed=1):
    """So many octets (a little more) of text in lines of 76 that no compressor and no pattern hides a hole in."""
    r = random.Random(seed)
    raw = base64.b64encode(r.randbytes(octets * 57 // 78 + 57))
    return b"".join(raw[i:i + 76] + b"\r\n" for i in range(0, len(raw), 76))


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, 7677): first(), final(server-first), check(server-final)."""

    def __init__(self, user, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={user},r={self.nonce}"

    def first(self):
        return ("n,," + self.bare).encode()

    def final(self, server_first):
        said = dict(x.split("=", 1) for x in server_first.decode().split(","))
        assert said["r"].startswith(self.nonce) and len(said["r"]) > len(self.nonce), said
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(said["s"]), int(said["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c=biws,r={said['r']}"
        signed = f"{self.bare},{server_first.decode()},{without}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        self.server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return f"{without},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final):
        assert server_final == b"v=" + base64.b64encode(self.server), f"the server does not know the password: {server_final}"

    def steps(self):
        """For imaplib's authenticate(): a function from challenge to response."""
        rest = [lambda c: self.first(), self.final, lambda c: self.check(c) or b""]
        return lambda challenge: rest.pop(0)(challenge)


class Office:
    def __init__(self, users=1, extra=""):
        self.users, self.extra, self.expected = users, extra, []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="postamt-e2e-")
        os.chmod(self.dir, 0o755)
        self.home = os.path.join(self.dir, "client")  # what the clients keep
        try:
            self.info = instance.start(os.path.join(self.dir, "office"), self.users, "sha512crypt", self.extra)
            os.makedirs(self.home)
            if os.getuid() == 0:
                os.chown(self.home, instance.NOBODY, instance.NOBODY)
        except BaseException:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_):
        instance.end(self.info["pid"])
        if not os.environ.get("POSTAMT_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        instance.stop(self.office)

    # --- what it is ---

    @property
    def office(self):
        return os.path.join(self.dir, "office")

    @property
    def password(self):
        return self.info["users"]["password"]

    def user(self, n=0):
        return self.info["users"]["template"] % n

    def port(self, name):
        return self.info["ports"][name]

    def maildir(self, n=0, folder=""):
        return os.path.join(self.info["maildir"] % n, "." + folder if folder else "")

    def statedir(self, n=0):
        return os.path.join(self.office, "state", self.info["domain"], f"u{n}")

    def files(self, n=0, folder="", where="*"):
        """Names of the message files of a folder, whole; where: new, cur, * both."""
        return sorted(x for w in (["new", "cur"] if where == "*" else [where])
                      for x in glob.glob(glob.escape(os.path.join(self.maildir(n, folder), w)) + "/*"))

    def texts(self, n=0, folder=""):
        out = []
        for name in self.files(n, folder):
            with open(name, "rb") as f:
                out.append(f.read())
        return out

    def find(self, subject, n=0, folder="", seconds=5):
        """The one message with this subject: (file name, octets)."""
        def look():
            hits = []
            for name in self.files(n, folder):
                with contextlib.suppress(FileNotFoundError), open(name, "rb") as f:
                    text = f.read()
                    if f"\r\nSubject: {subject}\r\n".encode() in text.split(b"\r\n\r\n", 1)[0] + b"\r\n":
                        hits.append((name, text))
            return hits
        hits = wait_for(look, seconds)
        assert len(hits) == 1, f"{len(hits)} messages of u{n} in {folder or 'INBOX'} have the subject {subject}: {hits and [x[0] for x in hits]}"
        return hits[0]

    def put(self, name, text):
        """A file as the instance's user would have it."""
        with open(name, "wb") as f:
            f.write(text)
        if os.getuid() == 0:
            os.chown(name, instance.NOBODY, instance.NOBODY)

    def log(self):
        with open(os.path.join(self.office, "log"), errors="replace") as f:
            return f.read()

    def expect_log(self, *regexes):
        """Lines of level warn or error that match are as they should be."""
        self.expected += regexes

    def complaints(self):
        """Lines of the log that nobody expected, and what came on stderr."""
        bad = [x for x in self.log().splitlines() if re.match(r"\S+ \S+ (warn|error) ", x)
               and not any(re.search(e, x) for e in self.expected)]
        with open(os.path.join(self.office, "stderr"), errors="replace") as f:
            return bad + f.read().splitlines()

    def status(self):
        r = instance.cli(self.office, "status", "--json", check=False)
        return instance.json.loads(r.stdout) if r.returncode == 0 else None

    def roles(self):
        """Role -> its row of postamt status."""
        return {x["role"]: x for x in (self.status() or {"roles": []})["roles"]}

    def cli(self, *args, **kw):
        return instance.cli(self.office, *args, **kw)

    # --- programs ---

    def tool(self, *args, ok=(0,), timeout=60, owner=False, **kw):
        """Runs a client; its exit status must be one of ok. owner: as the instance's user."""
        env = dict(os.environ, HOME=self.home, LC_ALL="C.UTF-8", LANG="C.UTF-8", TERM="dumb")
        env.update(kw.pop("env", {}))
        if owner:
            kw.update(instance.as_nobody())
        r = subprocess.run([str(a) for a in args], capture_output=True, timeout=timeout, env=env, cwd=self.home, **kw)
        if ok is not None and r.returncode not in ok:
            raise AssertionError(f"{' '.join(map(str, args))} ended with {r.returncode}:\n"
                                 f"{r.stdout.decode(errors='replace')[-3000:]}{r.stderr.decode(errors='replace')[-3000:]}")
        return r

    def curl(self, service, path, *args, n=0, **kw):
        """curl to a service by its name in the certificate, which must be trusted: imaps://mail.example.test:PORT/path."""
        scheme = {"smtp": "smtp", "submission": "smtp", "submissions": "smtps", "imap": "imap", "imaps": "imaps",
                  "pop3": "pop3", "pop3s": "pop3s"}[service]
        login = [] if service == "smtp" else ["-u", f"{self.user(n)}:{self.password}"]
        tls = ["--ssl-reqd"] if scheme in ("smtp", "imap", "pop3") else []
        return self.tool("curl", "-sS", "--max-time", "50", "--cacert", self.info["ca_file"], "--resolve",
                         f"{self.info['tls_name']}:{self.port(service)}:{self.info['host']}", *tls, *login,
                         f"{scheme}://{self.info['tls_name']}:{self.port(service)}/{path}", *args, **kw)

    # --- protocols ---

    def tls(self):
        ctx = ssl.create_default_context(cafile=self.info["ca_file"])
        ctx.check_hostname = False  # it is made for the tls_name, we come to 127.0.0.1
        return ctx

    def imap(self, n=0, service="imaps", login=True):
        if service == "imaps":
            m = imaplib.IMAP4_SSL(self.info["host"], self.port(service), ssl_context=self.tls(), timeout=TIMEOUT)
        else:
            m = imaplib.IMAP4(self.info["host"], self.port(service), timeout=TIMEOUT)
        if login:
            m.login(self.user(n), self.password)
        return m

    def pop3(self, n=0, service="pop3s", login=True):
        if service == "pop3s":
            p = poplib.POP3_SSL(self.info["host"], self.port(service), context=self.tls(), timeout=TIMEOUT)
        else:
            p = poplib.POP3(self.info["host"], self.port(service), timeout=TIMEOUT)
        if login:
            p.user(self.user(n))
            p.pass_(self.password)
        return p

    def smtp(self, service="smtp", n=None):
        """A connection after EHLO; n: logged in as that user."""
        if service == "submissions":
            s = smtplib.SMTP_SSL(self.info["host"], self.port(service), context=self.tls(), timeout=TIMEOUT)
        else:
            s = smtplib.SMTP(self.info["host"], self.port(service), timeout=TIMEOUT)
        if service == "submission":
            s.starttls(context=self.tls())
        s.ehlo("client.test")
        if n is not None:
            s.login(self.user(n), self.password)
        return s

    def deliver(self, texts, n=0):
        """Messages from the world, through port 25, over one connection."""
        with self.smtp() as s:
            for t in texts if isinstance(texts, list) else [texts]:
                s.sendmail("sender@elsewhere.test", [self.user(n)], t)

    def restart(self):
        self.info.update(instance.restart(self.office))


def run_step(o, step):
    began = time.monotonic()
    try:
        step(o)
        print(f"ok   {step.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        return True
    except Exception:
        print(f"FAIL {step.__name__} ({time.monotonic() - began:.1f} s)\n{traceback.format_exc()}"
              f"the log says:\n{instance.log_tail(o.office, 30)}", flush=True)
        return False


def main(steps, users=1, extra="", office=None):
    """office: one of another class, not yet entered."""
    wanted = sys.argv[1:]
    failed = 0
    with office or Office(users, extra) as o:
        for step in steps:
            if not wanted or step.__name__ in wanted:
                failed += not run_step(o, step)
        pids = instance.descendants(o.info["pid"])
        failures = []
        try:
            o.stop()
        except instance.InstanceError as e:
            failures.append(str(e))
        left = [p for p in pids if instance.alive(p)]
        for what in failures + o.complaints() + [f"process {p} is still there after the stop" for p in left]:
            print(f"FAIL {what}", flush=True)
            failed += 1
    return 1 if failed else 0
