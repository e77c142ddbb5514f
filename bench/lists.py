#!/usr/bin/env python3
"""What a list of messages costs: CPU of the worker for each message of FETCH ENVELOPE and SEARCH SUBJECT.

    lists.py [--messages 1000,10000] [--reps 5] [--dir DIR]

In a throw-away instance: cold (no message was ever parsed, postamt.cache is removed before each), warm (again in the
same session), new (the mailbox was closed and is opened anew), and for SEARCH, BODYSTRUCTURE and HEADER.FIELDS warm.
The time is the kernel's count of nanoseconds on a CPU (/proc/PID/schedstat); SELECT is not in it. Medians.
"""
import argparse
import os
import random
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "lib"))
import instance  # noqa: E402

WORDS = "offer meeting minutes invoice of the new office plan for April and budget report draft Grüße reminder".split()


def message(i, rng):
    """As mail looks today: traces, signatures, two forms of the text."""
    subject = " ".join(rng.choice(WORDS) for _ in range(6))
    if any(ord(c) > 127 for c in subject):
        subject = "=?utf-8?Q?" + "".join(f"={b:02X}" if b > 126 or b in b"=?_ " else chr(b) for b in subject.encode()) + "?="
    line = "The quick brown fox jumps over the lazy dog and reads what was written.\r\n"
    received = "".join(
        f"Received: from mx{n}.example.org (mx{n}.example.org [192.0.2.{n}])\r\n\tby mail.example.test with ESMTPS id "
        f"{rng.getrandbits(48):012x}\r\n\tfor <u0@example.test>; Tue, 24 Nov 2026 0{n}:00:00 +0000\r\n" for n in range(1, 4))
    signature = "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP0123456789+/") for _ in range(340))
    header = (
        f"Return-Path: <bounce-{i}@example.org>\r\n{received}"
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject;\r\n\tb={signature}\r\n"
        f"From: \"Person {i % 97}\" <person{i % 97}@example.org>\r\nTo: Anna Example <u0@example.test>, team@example.test\r\n"
        f"Cc: \"Somebody, Else\" <else@example.net>\r\nSubject: {subject} {i}\r\nDate: Tue, 24 Nov 2026 08:{i % 60:02d}:00 +0100\r\n"
        f"Message-ID: <{i}.{rng.getrandbits(64):016x}@example.org>\r\nIn-Reply-To: <{i - 1}.{rng.getrandbits(64):016x}@example.org>\r\n"
        f"References: <{i - 2}.1@example.org>\r\n <{i - 1}.2@example.org>\r\nMIME-Version: 1.0\r\nX-Mailer: Example 1.0\r\n"
        f"List-Unsubscribe: <https://example.org/unsubscribe/{rng.getrandbits(64):x}>\r\nX-Spam-Status: No, score=-1.0\r\n"
        f"Content-Type: multipart/alternative; boundary=\"=_b{i}\"\r\n\r\n")
    return (header + f"--=_b{i}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            + line * 12 + f"--=_b{i}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            + "<html><body>" + line * 20 + f"</body></html>\r\n--=_b{i}--\r\n").encode()


def fill(maildir, n):
    rng = random.Random(n)
    new = os.path.join(maildir, "new")
    for i in range(n):
        path = os.path.join(new, f"{1700000000 + i}.bench{i}")
        text = message(i, rng)
        with open(f"{path},S={len(text)}", "wb") as f:
            f.write(text)
        if os.getuid() == 0:
            os.chown(f.name, instance.NOBODY, instance.NOBODY)


class Imap:
    def __init__(self, info, user):
        self.s = socket.create_connection((instance.HOST, info["ports"]["imap_plain"]))
        self.s.settimeout(120)
        self.rest = b""
        while b"\r\n" not in self.rest:
            self.rest += self.s.recv(65536)
        self.rest = b""
        self.do(f"LOGIN {user} {instance.PASSWORD}")

    def do(self, command):
        """Octets of the answer."""
        self.s.sendall(b"a " + command.encode() + b"\r\n")
        total, tail = 0, b""
        while True:
            got = self.s.recv(1 << 20)
            assert got, "the server ended the connection"
            total += len(got)
            tail = (tail + got)[-400:]
            end = re.search(rb"(?:^|\r\n)a (OK|NO|BAD)[^\r\n]*\r\n$", tail)
            if end:
                assert end[1] == b"OK", (command, tail)
                return total


def worker(info, before):
    """The process that came with the login: it alone has this user's mailbox."""
    pids = {pid for pid in instance.descendants(info["pid"]) if pid not in before}
    assert len(pids) == 1, pids
    return pids.pop()


def on_cpu(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0])


def measure(info, n, user, reps):
    maildir = info["maildir"] % user
    cache = os.path.join(maildir.replace("/mail/", "/state/").removesuffix("/Maildir"), "INBOX", "postamt.cache")
    before = set(instance.descendants(info["pid"]))
    c = Imap(info, f"u{user}@example.test")
    c.do("SELECT INBOX")
    c.do("UNSELECT")
    fill(maildir, n)
    pid = worker(info, before)
    rows = {}

    def timed(name, command):
        start, wall = on_cpu(pid), time.monotonic()
        c.do(command)
        spent = (on_cpu(pid) - start) / 1000 / n
        rows.setdefault(name, []).append((spent, (time.monotonic() - wall) * 1e6 / n))

    c.do("SELECT INBOX")
    for _ in range(reps):
        c.do("UNSELECT")
        if os.path.exists(cache):
            os.unlink(cache)
        c.do("SELECT INBOX")
        timed("ENVELOPE cold", "FETCH 1:* (UID ENVELOPE)")
        timed("ENVELOPE warm", "FETCH 1:* (UID ENVELOPE)")
        c.do("UNSELECT")
        c.do("SELECT INBOX")
        timed("ENVELOPE new session", "FETCH 1:* (UID ENVELOPE)")
        timed("BODYSTRUCTURE warm", "FETCH 1:* (UID BODYSTRUCTURE)")
        timed("HEADER.FIELDS warm", "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (From To Subject Date)])")
        timed("SEARCH SUBJECT warm", "SEARCH SUBJECT nothing")
        timed("SEARCH FROM warm", "SEARCH FROM person96")
        timed("FLAGS", "FETCH 1:* FLAGS")
        timed("RFC822 whole", "FETCH 1:* BODY.PEEK[]") if n <= 2000 else None
    size = os.path.getsize(cache)
    for name, values in rows.items():
        print(f"{n:6} messages  {name:22} {statistics.median(v[0] for v in values):8.2f} us CPU"
              f" (least {min(v[0] for v in values):6.2f}) {statistics.median(v[1] for v in values):8.2f} us wall")
    print(f"{n:6} messages  postamt.cache {size / n:.0f} octets a message", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--messages", default="1000,10000")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--dir")
    args = p.parse_args()
    folder = args.dir or tempfile.mkdtemp(prefix="postamt-lists.")
    os.chmod(folder, 0o755)
    sizes = [int(x) for x in args.messages.split(",")]
    info = instance.start(os.path.join(folder, "i"), len(sizes), "sha512crypt")
    try:
        for user, n in enumerate(sizes):
            measure(info, n, user, args.reps)
    finally:
        instance.end(info["pid"])
        if not args.dir:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
