#!/usr/bin/env python3
"""fetchd behind its fence: policies of good web servers, and what it says of bad ones: certificates, redirects, other
answers, too much, too slow, nothing at all; many at once; when queued goes and comes. With Landlock of ABI 2 too."""
import os
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time

import certs
import instance
import role

HERE, NOBODY_LISTENS = socket.inet_aton("127.0.0.1"), socket.inet_aton("127.0.0.3")
OK, MISSING, FAILED = range(3)
SECONDS = 3  # POSTAMT_FETCH_SECONDS
AT_ONCE = 32
BODY_MAX = 60 * 1024
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: *.example.test\r\nmax_age: 86400\r\n"


def reply(body, status="200 OK", kind="text/plain", length=True):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    return (head + (f"Content-Length: {len(body)}\r\n" if length else "") + "\r\n").encode() + body


def drip(tls):
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        tls.sendall(b"x")
        time.sleep(0.2)


def endless_header(tls):
    tls.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        tls.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


def hang(tls):
    tls.recv(1)  # until it gives up


# host -> octets, or what is done with the connection
ANSWERS = {
    "good": reply(POLICY), "charset": reply(POLICY, kind="Text/Plain; charset=utf-8"), "open": reply(POLICY, length=False),
    "largest": reply(b"x" * BODY_MAX), "expired": reply(POLICY), "other": reply(POLICY), "unknown": reply(POLICY),
    "moved": reply(b"", "301 Moved\r\nLocation: https://mta-sts.good.test/.well-known/mta-sts.txt"),
    "none": reply(POLICY, "404 Not Found"), "broken": reply(POLICY, "500 Oh"), "html": reply(POLICY, kind="text/html"),
    "untyped": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + POLICY, "large": reply(b"x" * (BODY_MAX + 1)),
    "largest-open": reply(b"x" * 10 * BODY_MAX, length=False), "short": reply(POLICY)[:-10], "junk": b"\0\1\2 220 no web here\r\n",
    "empty": b"", "drip": drip, "header": endless_header, "hang": hang,
}


class Server:
    """Who is called decides by SNI what happens."""

    def __init__(self, d):
        self.requests, self.open, self.most, self.lock = {}, 0, 0, threading.Lock()
        self.ca = certs.Authority(os.path.join(d, "ca"))
        stranger = certs.Authority(os.path.join(d, "stranger"))
        good = self.ca.leaf("*.good.test", *(f"mta-sts.{n}.test" for n in ANSWERS if n not in ("expired", "other", "unknown")))
        self.context = good.context()
        others = {"expired": self.ca.leaf("mta-sts.expired.test", expired=True).context(),
                  "other": self.ca.leaf("www.other.test").context(),
                  "unknown": stranger.leaf("mta-sts.unknown.test").context()}

        def by_name(tls, name, _):
            tls.called = (name or "").split(".")[1]
            tls.context = others.get(tls.called, self.context)

        self.context.sni_callback = by_name
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s = self.listener.accept()[0]
            with self.lock:
                self.open += 1
                self.most = max(self.most, self.open)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            with s, self.context.wrap_socket(s, server_side=True) as tls:
                answer = ANSWERS[tls.called]
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += tls.recv(4096)
                self.requests[tls.called] = request
                if callable(answer):
                    tls.settimeout(30)
                    answer(tls)
                else:
                    tls.sendall(answer)
        except (OSError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                self.open -= 1


class Tester:
    def __init__(self, r, server):
        self.r, self.server, self.number, self.bad = r, server, 0, []

    def expect(self, what, got, wanted):
        if got != wanted:
            self.bad.append(what)
            print(f"FAILED {what}: got {got!r}, wanted {wanted!r}", flush=True)

    def send(self, name, addresses=(HERE,)):
        self.number += 1
        self.r.peer["queued"].send("FETCH", self.number, f"mta-sts.{name}.test", len(addresses), *addresses)
        return self.number

    def read(self):
        m = self.r.peer["queued"].recv(SECONDS + 20)
        assert m and m.type == "FETCHED", f"no answer: {self.r.died_by()} {self.r.logged()}"
        a = m.u64(), m.u64(), m.octets(), m.text()
        assert not m.rest
        return a

    def fetch(self, name, addresses=(HERE,)):
        number = self.send(name, addresses)
        got, status, body, why = self.read()
        self.expect(f"{name}: question", got, number)
        return status, body, why

    def check(self, name, status, body=None, why="", addresses=(HERE,)):
        got = self.fetch(name, addresses)
        self.expect(name, got[0], status)
        self.expect(f"{name}: body", got[1], body or b"")
        if why not in got[2]:
            self.expect(f"{name}: why", got[2], why)
        if status != OK and not got[2]:
            self.expect(f"{name}: why", got[2], "a sentence")


def answers(t):
    t.check("good", OK, POLICY)
    request = t.server.requests["good"].decode().split("\r\n")
    t.expect("request", request[0], "GET /.well-known/mta-sts.txt HTTP/1.1")
    t.expect("Host", request[1], f"Host: mta-sts.good.test:{t.server.port}")
    t.check("charset", OK, POLICY)
    t.check("open", OK, POLICY)
    t.check("largest", OK, b"x" * BODY_MAX)
    t.check("expired", FAILED, why="expired")
    t.check("other", FAILED, why="mta-sts.other.test")
    t.check("unknown", FAILED)
    t.check("moved", MISSING, why="301")
    t.check("none", MISSING, why="404")
    t.check("broken", MISSING, why="500")
    t.check("html", MISSING, why="text/plain")
    t.check("untyped", MISSING, why="text/plain")
    t.check("large", FAILED, why="large")
    t.check("largest-open", FAILED, why="large")
    t.check("header", FAILED)
    t.check("short", FAILED)
    t.check("junk", FAILED)
    t.check("empty", FAILED)
    t.check("good", FAILED, addresses=(NOBODY_LISTENS,))
    t.check("good", OK, POLICY, addresses=(NOBODY_LISTENS, HERE))
    t.check("good", OK, POLICY, addresses=(HERE, socket.inet_pton(socket.AF_INET6, "::1")))
    t.check("good", FAILED, addresses=(NOBODY_LISTENS,))  # what was resolved before is not remembered


def slow(t):
    for name in ("drip", "hang"):
        began = time.monotonic()
        t.check(name, FAILED)
        took = time.monotonic() - began
        t.expect(f"{name}: ends in time", SECONDS - 1 < took < SECONDS + 5, True)


def many(t):
    n, wanted = AT_ONCE + 8, {}
    for i in range(n):
        name = "hang" if i < AT_ONCE // 2 else "good"
        wanted[t.send(name)] = FAILED if name == "hang" else OK
    got = {a[0]: a[1] for a in (t.read() for _ in range(n))}
    t.expect("many at once", got, wanted)
    for _ in range(257):
        t.send("hang")
    t.expect("one too many", t.read()[1::2], (FAILED, "too many policies are being fetched"))
    time.sleep(0.5)
    # the server sees an end a moment after the next has begun
    t.expect(f"{t.server.most} connections at once", AT_ONCE // 2 < t.server.most < AT_ONCE * 3 // 2, True)


def channel(t):
    """A new queued gets nothing of what an old one asked; it may say nonsense, and that is its end."""
    t.send("hang")
    t.r.connect("queued")
    t.check("good", OK, POLICY)
    for fields in ((1, "mta-sts.good.test", 0), (1, "mta-sts.good.test", 17, *[HERE] * 17), (1, "", 1, HERE),
                   (1, "mta-sts.good.test/x", 1, HERE), (1, "a:b@good.test", 1, HERE), (1, "mta-sts.good.test", 1, b"127.0.0.1"),
                   (1, "mta-sts.good.test", 2, HERE), (1, "mta-sts.good.test", 1, HERE, 1)):
        t.r.peer["queued"].send("FETCH", *fields)
        t.expect(f"{fields} closes the channel", t.r.peer["queued"].recv(), None)
        t.r.connect("queued")
    t.check("good", OK, POLICY)


def try_all(d, server, ca_file, what):
    config = instance.config_text(d, {row[0]: 1 + i for i, row in enumerate(instance.LISTENERS)}, "yescrypt",
                                  f'outbound = {{ ca_file = "{ca_file}"; policy_port = {server.port}; }};')
    with role.Role("lookup/fetchd", "fetchd", config, peers=["queued"], folder=d) as r:
        t = Tester(r, server)
        for f in what:
            f(t)
        t.expect("refused calls", "refused_call" in r.logged(), False)
        t.expect("died by", r.died_by(), None)
        return t.bad


def no_authorities(t):
    t.check("good", FAILED)
    t.expect("said so", "/nowhere/ca.crt" in t.r.logged(), True)


def main():
    # a proxy of the environment is not asked
    os.environ.update(POSTAMT_FETCH_SECONDS=str(SECONDS), https_proxy="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9")
    d = tempfile.mkdtemp(prefix="fetchd.", dir="/tmp")
    os.chmod(d, 0o755)
    try:
        server = Server(d)
        bad = try_all(d, server, server.ca.file, (answers, slow, channel, many))
        bad += try_all(d, server, "/nowhere/ca.crt", (no_authorities,))
        os.environ["POSTAMT_LANDLOCK_ABI"] = "2"
        bad += try_all(d, server, server.ca.file, (answers,))
    finally:
        shutil.rmtree(d)
    print("fetchd: " + (f"{len(bad)} failures" if bad else "as it should be"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
