#!/usr/bin/env python3
"""Replays dialogues against an instance: transcript.py [--instance DIR] FILE...

A transcript is text, one behaviour a file:

    # what it shows
    service: imap_plain        a port's name of the instance; ports ending in s speak TLS at once
    login                      log in first (IMAP, POP3: the plain way; submission: AUTH PLAIN)
    mail 3                     put so many messages into the user's INBOX before (subject "mail 1" ..)
    mail <<END                 the same with the lines up to END as the message
    C: a SELECT INBOX          a line to send, CRLF added. \\r \\n \\t \\\\ \\xNN are octets
    C- text                    octets to send, nothing added
    C* 1000 text               the same so many times over
    S: * 3 EXISTS              the next line must be this
    S~ \\* OK \\[UIDVALIDITY \\d+\\].*      the next line must match this regular expression wholly
    S* a OK .*                 skip lines until one matches; it must come
    S! \\* \\d+ EXISTS         (before an S*) none of the lines skipped by it may match
    S$                         the server closes the connection
    starttls                   after the server's go-ahead: the handshake (2starttls: the second connection's)
    close                      the client goes without a word (2close: the second connection)
    sleep 0.2
    2C: ..  2S: ..             the same on a second connection of the same user (opened and logged in when first named)
    2service: smtp             what the second connection speaks, where it differs
    2login no                  the second connection is not logged in (login: it alone is)
    run: shell command         must end with 0; $MAILDIR, $OTHERDIR, $STATEDIR, $PORT_smtp .. are set

$USER, $PASSWORD, $DOMAIN, $PLAIN (the AUTH PLAIN response), $USER64, $PASSWORD64 stand for the account's in C and S lines, as does
$OTHER for one more account, which all transcripts share. Each transcript gets a user of its own. Prints one line a transcript; the exit status is 1 if any failed.
"""
import argparse
import base64
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import instance  # noqa: E402

TIMEOUT = 15


class Failed(Exception):
    pass


def octets(text):
    def one(m):
        e = m.group(1)
        return {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}.get(e) or chr(int(e[1:], 16))
    return re.sub(r"\\(r|n|t|\\|x[0-9a-fA-F]{2})", one, text).encode("latin-1" if "\\x" in text else "utf-8")


class Connection:
    def __init__(self, info, service):
        self.info, self.service = info, service
        self.sock = socket.create_connection((info["host"], info["ports"][service]), TIMEOUT)
        self.sock.settimeout(TIMEOUT)
        if service in ("imaps", "pop3s", "submissions"):
            self.starttls()
        self.buf = b""

    def starttls(self):
        ctx = ssl.create_default_context(cafile=self.info["ca_file"])
        self.sock = ctx.wrap_socket(self.sock, server_hostname=self.info["tls_name"])
        self.buf = b""

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.buf:
            try:
                got = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                got = b""
            except socket.timeout:
                raise Failed(f"nothing came for {TIMEOUT} s; read so far: {self.buf!r}")
            if not got:
                if self.buf:
                    raise Failed(f"the server closed in the middle of a line: {self.buf!r}")
                return None
            self.buf += got
        line, self.buf = self.buf.split(b"\n", 1)
        return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")

    def skip_to(self, regex, never=()):
        seen = []
        while True:
            line = self.line()
            if line is None:
                raise Failed(f"the server closed before a line matched {regex}; it said {seen}")
            if re.fullmatch(regex, line):
                return line
            for n in never:
                if re.fullmatch(n, line):
                    raise Failed(f"this must not come: {line}")
            seen.append(line)


class Transcript:
    def __init__(self, path, info, d, number):
        self.path, self.info, self.d = path, info, d
        self.user = info["users"]["template"] % number
        self.maildir = info["maildir"] % number
        self.vars = {
            "$USER": self.user, "$PASSWORD": info["users"]["password"], "$DOMAIN": info["domain"],
            "$OTHER": info["users"]["template"] % (info["users"]["count"] - 1),
            "$PLAIN": base64.b64encode(f"\0{self.user}\0{info['users']['password']}".encode()).decode(),
            "$USER64": base64.b64encode(self.user.encode()).decode(),
            "$PASSWORD64": base64.b64encode(info["users"]["password"].encode()).decode(),
        }
        self.connections = {}
        self.services, self.logins = {"": "imap_plain"}, {"": False}
        self.never = []

    def fill(self, text):
        for k in sorted(self.vars, key=len, reverse=True):
            text = text.replace(k, self.vars[k])
        return text

    def conn(self, name):
        if name not in self.connections:
            c = self.connections[name] = Connection(self.info, self.services.get(name, self.services[""]))
            if self.logins.get(name, self.logins[""]):
                self.log_in(c)
        return self.connections[name]

    def log_in(self, c):
        if c.service.startswith("imap"):
            c.line()
            c.send(f"login LOGIN {self.user} {self.vars['$PASSWORD']}\r\n".encode())
            c.skip_to("login OK .*")
        elif c.service.startswith("pop3"):
            c.line()
            c.send(f"USER {self.user}\r\nPASS {self.vars['$PASSWORD']}\r\n".encode())
            for _ in range(2):
                if not (c.line() or "").startswith("+OK"):
                    raise Failed("POP3 login was refused")
        else:
            c.line()
            if c.service == "submission":
                c.send(b"EHLO client.test\r\n")
                c.skip_to("250 .*")
                c.send(b"STARTTLS\r\n")
                c.skip_to("220 .*")
                c.starttls()
            c.send(b"EHLO client.test\r\n")
            c.skip_to("250 .*")
            c.send(f"AUTH PLAIN {self.vars['$PLAIN']}\r\n".encode())
            c.skip_to("235 .*")

    def deliver(self, texts):
        with socket.create_connection((self.info["host"], self.info["ports"]["smtp"]), TIMEOUT) as s:
            f = s.makefile("rwb")

            def step(line, want):
                if line:
                    f.write(line)
                    f.flush()
                while True:
                    r = f.readline()
                    if r[3:4] != b"-":
                        break
                if not r.startswith(want):
                    raise Failed(f"delivery: {line!r} was answered {r!r}")
            step(b"", b"220")
            step(b"EHLO tests.test\r\n", b"250")
            for t in texts:
                step(b"MAIL FROM:<sender@elsewhere.test>\r\n", b"250")
                step(f"RCPT TO:<{self.user}>\r\n".encode(), b"250")
                step(b"DATA\r\n", b"354")
                step(re.sub(rb"(?m)^\.", b"..", t) + b".\r\n", b"250")
            step(b"QUIT\r\n", b"221")

    def mail(self, arg, lines):
        if arg.startswith("<<"):
            body = []
            for number, line in lines:
                if line == arg[2:].strip():
                    break
                body.append(octets(self.fill(line)) + b"\r\n")
            self.deliver([b"".join(body)])
        else:
            self.deliver([b"From: Anna <anna@elsewhere.test>\r\nTo: you\r\nSubject: mail %d\r\n"
                          b"Date: Mon, 23 Nov 2026 10:00:0%d +0000\r\nMessage-ID: <m%d@elsewhere.test>\r\n\r\nbody %d\r\n"
                          % (i, i % 10, i, i) for i in range(1, int(arg) + 1)])

    def step(self, line, lines):
        m = re.match(r"(\d?)([CS])([:\-~*!$]) ?(.*)$", line, re.S)
        if m:
            name, who, how, text = m.groups()
            c = self.conn(name or "1")
            self.dialogue(c, who + how, self.fill(text))
            return
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        name, word = re.fullmatch(r"(\d?)(.*)", word).groups()
        if word == "service:":
            self.services[name] = rest
        elif word == "login":
            self.logins[name] = rest != "no"
        elif word == "mail":
            self.mail(rest, lines)
        elif word == "close":
            self.connections.pop(name or "1").sock.close()
        elif word == "sleep":
            time.sleep(float(rest))
        elif word == "starttls":
            self.conn(name or "1").starttls()
        elif word == "run:":
            env = dict(os.environ, MAILDIR=self.maildir, STATEDIR=self.maildir.replace("/mail/", "/state/").removesuffix("/Maildir"),
                       DIR=self.d, MAILUSER=self.user, OTHERDIR=self.info["maildir"] % (self.info["users"]["count"] - 1), PASSWORD=self.vars["$PASSWORD"],
                       **{f"PORT_{k}": str(v) for k, v in self.info["ports"].items()})
            r = subprocess.run(rest, shell=True, env=env, capture_output=True, text=True, timeout=60)
            if r.returncode != 0:
                raise Failed(f"{rest} ended with {r.returncode}: {r.stdout}{r.stderr}")
        else:
            raise Failed(f"what is this line? {line}")

    def dialogue(self, c, kind, text):
        if kind == "C:":
            c.send(octets(text) + b"\r\n")
        elif kind == "C-":
            c.send(octets(text))
        elif kind == "C*":
            times, _, text = text.partition(" ")
            c.send(octets(text) * int(times))
        elif kind == "S:":
            got = c.line()
            if got != text:
                raise Failed(f"expected {text!r}, got {got!r}")
        elif kind == "S~":
            got = c.line()
            if got is None or not re.fullmatch(text, got):
                raise Failed(f"expected a match of {text!r}, got {got!r}")
        elif kind == "S!":
            self.never.append(text)
        elif kind == "S*":
            never, self.never = self.never, []
            c.skip_to(text, never)
        elif kind == "S$":
            got = c.line()
            if got is not None:
                raise Failed(f"expected the server to close, got {got!r}")
        else:
            raise Failed(f"what is {kind}?")

    def run(self):
        with open(self.path, encoding="utf-8") as f:
            lines = iter(list(enumerate((x.rstrip("\n") for x in f), 1)))
        try:
            for number, line in lines:
                if line.strip() and not line.startswith("#"):
                    try:
                        self.step(line, lines)
                    except Failed as e:
                        raise Failed(f"{self.path}:{number}: {line}\n    {e}")
                    except Exception as e:
                        raise Failed(f"{self.path}:{number}: {line}\n    {traceback.format_exc()}")
        finally:
            for c in self.connections.values():
                c.sock.close()


def run_all(files, info, d):
    failed = 0
    for i, path in enumerate(files):
        try:
            Transcript(path, info, d, i).run()
            print(f"ok   {os.path.basename(path)}", flush=True)
        except Failed as e:
            failed += 1
            print(f"FAIL {e}", flush=True)
    print(f"transcripts: {len(files) - failed} passed, {failed} failed", flush=True)
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--instance", help="folder of a running instance (else one is started and ended)")
    p.add_argument("files", nargs="+")
    a = p.parse_args()
    if a.instance:
        return 1 if run_all(a.files, instance.load(a.instance), a.instance) else 0
    with tempfile.TemporaryDirectory(prefix="postamt-transcripts-") as d:
        os.chmod(d, 0o755)
        failed = 0
        try:
            info = instance.start(d, users=len(a.files) + 1, hash_scheme="sha512crypt")
            failed = run_all(a.files, info, d)
            if failed:
                print(instance.log_tail(d, 60))
        finally:
            try:
                instance.stop(d)
            except instance.InstanceError as e:
                print(e)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
