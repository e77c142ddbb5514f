#!/usr/bin/env python3
"""kill -9 of each process in turn, again and again, while clients with ledgers work.

kill_ledger.py [SECONDS]     (default 20; `make faults` gives more)

SMTP clients send, IMAP clients APPEND, others submit mail for a server elsewhere, each message with a token of its own. Whose
250 or OK was seen is there exactly once, whose answer was not seen at most once; elsewhere it is once more for each kill of
what sends at most. The service is back within 2 s after each kill; after a kill of postamtd all roles are gone within 1 s and
the ports are free.
"""
import imaplib
import os
import random
import re
import signal
import smtplib
import socket
import ssl
import sys
import tempfile
import threading
import time

import badserver
import control
import instance
import zones

CLIENTS = 8
AWAY = 2             # clients whose mail leaves: with NSD only
SINK = "127.0.8.1"
SENDERS = ("queued.", "sender.", "smtpd.parent.", "resolverd.", "fetchd.")
LEAVE_SECONDS = 60   # for the queue to get empty, its clock moved on
BACK_SECONDS = 2.0
GONE_SECONDS = 1.0


def is_sanitized():
    with open(os.path.join(instance.BUILD, "Makefile")) as f:
        return "-fsanitize=address" in f.read()


class Client(threading.Thread):
    """Works until told to stop; keeps what it tried and what was acknowledged."""

    def __init__(self, info, number, stop):
        super().__init__(daemon=True)
        self.info, self.number, self.stop = info, number, stop
        self.user = info["users"]["template"] % number
        self.tried, self.acked, self.failures = 0, set(), 0
        self.all = set()

    def token(self):
        self.tried += 1
        t = f"{self.kind}-{self.number}-{self.tried}"
        self.all.add(t)
        return t

    def text(self, token, sender="a@b.test"):
        pad = "x" * random.randrange(10, 5000)
        return f"From: {sender}\r\nSubject: {token}\r\nMessage-ID: <{token}@ledger.test>\r\n\r\n{pad}\r\n"

    def run(self):
        while not self.stop.is_set():
            try:
                self.work()
            except Exception:  # whatever a killed server looks like: connect again
                self.failures += 1
                time.sleep(0.02)


class Smtp(Client):
    kind = "smtp"

    def work(self):
        with smtplib.SMTP(self.info["host"], self.info["ports"]["smtp"], timeout=10) as s:
            while not self.stop.is_set():
                token = self.token()
                s.sendmail("a@b.test", [self.user], self.text(token))
                self.acked.add(token)


class Imap(Client):
    kind = "imap"

    def work(self):
        m = imaplib.IMAP4(self.info["host"], self.info["ports"]["imap_plain"], timeout=10)
        try:
            m.login(self.user, self.info["users"]["password"])
            m.create("Ledger")
            while not self.stop.is_set():
                token = self.token()
                typ, _ = m.append("Ledger", None, None, self.text(token).encode())
                if typ == "OK":
                    self.acked.add(token)
        finally:
            m.shutdown()


class Away(Client):
    kind = "away"

    def work(self):
        ctx = ssl.create_default_context(cafile=self.info["ca_file"])
        ctx.check_hostname = False
        with smtplib.SMTP(self.info["host"], self.info["ports"]["submission"], timeout=10) as s:
            s.starttls(context=ctx)
            s.login(self.user, self.info["users"]["password"])
            while not self.stop.is_set():
                token = self.token()
                s.sendmail(self.user, [f"{token}@away.test"], self.text(token, self.user))
                self.acked.add(token)
                time.sleep(0.02)


class World:
    """Name servers and a sink; sink is None where there is no NSD."""

    def __init__(self, d):
        self.dns = self.sink = None
        self.settings = ""
        if zones.missing():
            print(f"no mail leaves: {zones.missing()}")
            return
        os.environ["POSTAMT_TEST_CLOCK"] = "1"
        self.sink = badserver.Server([SINK])
        self.dns = zones.Server(os.path.join(d, "dns"), {"away.test": f"@ MX 10 mx\nmx A {SINK}\n"})
        self.settings = (f'outbound = {{ port = {self.sink.port}; private = true; ipv6 = "off"; }};\n{self.dns.settings}'
                         "limits = { outbound_per_hour = 0; outbound_per_day = 0; };\n")

    def stop(self):
        for x in (self.dns, self.sink):
            if x:
                x.stop()

    def all_left(self, d):
        """The queue is empty, after what time ever by its own clock."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while self.sink and any(re.fullmatch(r"[0-9a-z]{13}", x) for x in os.listdir(os.path.join(d, "queue"))):
            if time.monotonic() > deadline:
                return False
            try:
                control.ask(os.path.join(d, "run/queued.sock"), {"verb": "queue clock", "seconds": 5001})
            except (OSError, control.ControlError):  # it is being started
                pass
            time.sleep(0.5)
        return True

    def came(self, c):
        return [m.subject for m in self.sink.messages() if m.mail == c.user]


def role_name(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().decode().split("\0")
        return words[words.index("--role") + 1] + "." + words[words.index("--instance") + 1]
    except (OSError, ValueError):
        return None


def probe(info):
    """A whole round: a mail in, a login, what was sent is there to be seen. Says how far it came when it fails."""
    step = "SMTP"
    try:
        probe_smtp(info)
        step = "IMAP"
        probe_imap(info)
    except Exception as e:
        raise ConnectionError(f"{step}: {e!r}") from e


def probe_smtp(info):
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=5) as s:
        s.sendmail("a@b.test", [info["users"]["template"] % (2 * CLIENTS)], "Subject: probe\r\n\r\nx\r\n")


def probe_imap(info):
    m = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=5)
    m.login(info["users"]["template"] % (2 * CLIENTS), info["users"]["password"])
    m.select("INBOX")
    m.logout()


def wait_back(info):
    """Seconds until a probe passed, and what the probes before it met, in words."""
    start, met = time.monotonic(), []
    while True:
        try:
            probe(info)
            return time.monotonic() - start, met
        except ConnectionError as e:
            met.append(f"{time.monotonic() - start:.2f} s {e}")
            if time.monotonic() - start > 20:
                raise SystemExit(f"the service did not come back in 20 s: {met[-5:]}")
            time.sleep(0.02)


def subjects(info, user, mailbox):
    m = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=60)
    m.login(user, info["users"]["password"])
    typ, data = m.select(mailbox, readonly=True)
    found = []
    if typ == "OK" and data[0] != b"0":
        for part in m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
            if isinstance(part, tuple):
                found += re.findall(r"Subject: (\S+)", part[1].decode())
    m.logout()
    return found


def audit(info, clients, world, repeats):
    """repeats: so many may be of one that left."""
    lost, twice, strange = [], [], []
    for c in clients:
        found = world.came(c) if c.kind == "away" else subjects(info, c.user, "Ledger" if c.kind == "imap" else "INBOX")
        counts = {}
        for t in found:
            counts[t] = counts.get(t, 0) + 1
        lost += [t for t in c.acked if t not in counts]
        twice += [t for t, n in counts.items() if n > 1 + (repeats if c.kind == "away" else 0)]
        strange += [t for t in counts if t not in c.all]
    return lost, twice, strange


def kill_round(info, turn):
    pids = [p for p in instance.descendants(info["pid"]) if p != info["pid"] and role_name(p)]
    pid = pids[turn % len(pids)]
    name = role_name(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return name


def end_of_postamtd(info):
    pids = instance.descendants(info["pid"])
    os.kill(info["pid"], signal.SIGKILL)
    start = time.monotonic()
    try:
        os.waitpid(info["pid"], 0)
    except ChildProcessError:
        pass
    while any(instance.alive(p) for p in pids):
        if time.monotonic() - start > 10:
            break
        time.sleep(0.01)
    gone = time.monotonic() - start
    for port in info["ports"].values():
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((info["host"], port))
    return gone


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float(os.environ.get("FAULT_SECONDS", "20"))
    back_limit = BACK_SECONDS * (5 if is_sanitized() else 1)
    bad = []
    with tempfile.TemporaryDirectory(prefix="postamt-kill-") as d:
        os.chmod(d, 0o755)
        world = World(d)
        info = instance.start(d, users=2 * CLIENTS + 1 + AWAY, hash_scheme="sha512crypt", extra=world.settings)
        try:
            stop = threading.Event()
            clients = [Smtp(info, i, stop) for i in range(CLIENTS)] + [Imap(info, CLIENTS + i, stop) for i in range(CLIENTS)]
            clients += [Away(info, 2 * CLIENTS + 1 + i, stop) for i in range(AWAY if world.sink else 0)]
            for c in clients:
                c.start()
            deadline, turn, times, killed = time.monotonic() + seconds, 0, [], {}
            while time.monotonic() < deadline:
                time.sleep(random.uniform(0.05, 0.3))
                name = kill_round(info, turn)
                turn += 7  # every process comes in its turn, neighbours not one after the other
                if name:
                    took, met = wait_back(info)
                    times.append(took)
                    killed[name] = killed.get(name, 0) + 1
                    if took > back_limit:
                        bad.append(f"after a kill of {name} the service was back after {took:.2f} s; before that: {met[-4:]}")
            stop.set()
            for c in clients:
                c.join(30)
            if not world.all_left(d):
                bad.append(f"the queue is not empty after {LEAVE_SECONDS} s")
            repeats = sum(n for name, n in killed.items() if name.startswith(SENDERS))
            lost, twice, strange = audit(info, clients, world, repeats)
            acked = sum(len(c.acked) for c in clients)
            away = [c for c in clients if c.kind == "away"]
            left, copies = sum(len(c.acked) for c in away), sum(len(world.came(c)) for c in away)
            if away:
                print(f"{left} messages left in {copies} copies, {repeats} kills of what sends")
            if away and left < 20:
                bad.append(f"only {left} messages left: nothing was tried")
            print(f"{sum(killed.values())} kills of {len(killed)} processes; {acked} messages acknowledged, "
                  f"{sum(c.tried for c in clients) - acked} unanswered; back after {max(times):.2f} s at most")
            gone = end_of_postamtd(info)
            print(f"postamtd killed: all gone after {gone:.2f} s")
            if gone > GONE_SECONDS:
                bad.append(f"after a kill of postamtd roles lived for {gone:.2f} s")
            info = instance.restart(d)
            again = audit(info, clients, world, repeats)
            for what, tokens in zip(("lost", "twice", "strange", "lost after restart", "twice after restart"),
                                    (lost, twice, strange, again[0], again[1])):
                if tokens:
                    bad.append(f"{what}: {len(tokens)}: {tokens[:5]}")
            if acked < 50:
                bad.append(f"only {acked} messages were acknowledged: nothing was tried")
        except BaseException:
            print(instance.log_tail(d, 60))
            raise
        finally:
            instance.stop(d)
            world.stop()
        print("\n".join(bad) or "every acknowledged message is there exactly once")
        if bad:
            print(instance.log_tail(d, 30))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
