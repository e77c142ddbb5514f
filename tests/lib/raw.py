"""Sockets by hand, for what no well-behaved client library does; and what the server's processes cost meanwhile.

    c = Raw(o, "imap_plain"); c.say("a NOOP"); c.until("a OK .*")
"""
import math
import multiprocessing
import os
import re
import socket
import ssl
import time

import instance

TIMEOUT = 15


class Raw:
    """A connection; source: another loopback address to come from, where limits count addresses. tls: from the start."""

    def __init__(self, o, service, source=None, timeout=TIMEOUT, rcvbuf=None, tls=False):
        self.s = socket.socket()
        if rcvbuf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(timeout)
        if source:
            self.s.bind((source, 0))
        self.s.connect((o.info["host"], o.port(service)))
        if tls:
            self.starttls(o)
        self.buf = b""

    def starttls(self, o):
        self.s = o.tls().wrap_socket(self.s)
        self.buf = b""

    def say(self, text):
        self.send(text.encode() + b"\r\n")

    def send(self, octets):
        self.s.sendall(octets)

    def line(self):
        """The next line without its end; None: the server has closed."""
        while b"\n" not in self.buf:
            try:
                got = self.s.recv(65536)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                got = b""
            if not got:
                return None
            self.buf += got
        line, self.buf = self.buf.split(b"\n", 1)
        return line.removesuffix(b"\r").decode(errors="replace")

    def until(self, regex):
        seen = []
        while True:
            line = self.line()
            assert line is not None, f"the server closed before {regex}; it said {seen[-5:]}"
            if re.fullmatch(regex, line):
                return line
            seen.append(line)

    def ask(self, text, regex):
        self.say(text)
        return self.until(regex)

    def rest(self):
        """All lines up to the close."""
        out = []
        while (line := self.line()) is not None:
            out.append(line)
        return out

    def close(self):
        self.s.close()


def smtp(o, **kw):
    c = Raw(o, "smtp", **kw)
    c.until("220 .*")
    c.ask("EHLO client.test", "250 .*")
    return c


def imap(o, n=0, **kw):
    c = Raw(o, "imap_plain", **kw)
    c.until(r"\* OK .*")
    c.ask(f"login LOGIN {o.user(n)} {o.password}", "login OK .*")
    return c


# --- what it costs ---

def role_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        words = f.read().decode().split("\0")
    return words[words.index("--role") + 1] if "--role" in words else "postamtd"


def pids_of(o, role):
    """Processes of a role; "imapd.worker": the children of its spawner."""
    out = []
    for pid in instance.descendants(o.info["pid"]):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            name = role_of(pid)
            if name.endswith("spawner") and parent != o.info["pid"]:
                name = name.replace("spawner", "worker")
        except (OSError, IndexError):
            continue
        if name == role:
            out.append(pid)
    return out


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


def rss_of(o, *roles):
    return sum(rss_kib(p) for r in roles for p in pids_of(o, r))


def cpu_ms(pid):
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def _noops(o, n, times):
    c = imap(o, n)
    while True:
        began = time.monotonic()
        c.ask("n NOOP", "n OK .*")
        times.send(time.monotonic() - began)
        time.sleep(0.002)


class Neighbour:
    """Another user's session that sends a NOOP all the time: how long do its answers take? A process of its own."""

    def __init__(self, o, n):
        self.pipe, far = multiprocessing.Pipe(False)
        self.process = multiprocessing.Process(target=_noops, args=(o, n, far), daemon=True)
        self.process.start()

    def _times(self):
        times = []
        while self.pipe.poll():
            times.append(self.pipe.recv())
        return times

    def p99_ms(self):
        """Since it was asked last."""
        times = self._times()
        assert len(times) >= 10, f"only {len(times)} answers"
        return sorted(times)[len(times) * 99 // 100] * 1000

    def quiet_p99_ms(self, windows=3, seconds=0.8):
        """The best of some windows: what the machine does besides is not meant."""
        got = []
        time.sleep(0.2)
        for _ in range(windows):
            self._times()
            time.sleep(seconds)
            got.append(self.p99_ms())
        return min(got)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()


def rank_sum_p(first, second):
    """Mann and Whitney's test: how probable ranks that uneven are if nothing is different (normal approximation)."""
    ranks = sorted([(t, 0) for t in first] + [(t, 1) for t in second])
    n, m = len(first), len(second)
    total = sum(i + 1 for i, (_, kind) in enumerate(ranks) if kind == 0)
    return math.erfc(abs(total - n * (n + m + 1) / 2) / math.sqrt(n * m * (n + m + 1) / 12) / math.sqrt(2))
