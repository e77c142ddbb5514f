#!/usr/bin/env python3
"""The sender by itself against scripted servers: every stage that says no, goes away or talks nonsense, what is offered and
what is needed, TLS in all its modes, the text octet by octet, reuse, time. Replies as hostile as security.md S02, S04, S05, S07,
S22, D02 have them. Behind the role's own fence."""
import functools
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time

import sending
from sending import DANE, MAY, MUST, NONE, PKIX, Server, smtp, target

A, B, C = "bob@example.test", "carol@example.test", "dave@example.test"
PLAIN = ("8BITMIME",)
PIPE = ("PIPELINING", "8BITMIME", "SIZE 100000000", "DSN")
CHUNK = PIPE + ("CHUNKING",)


def serving(test):
    """Gives the test a function that starts a server and returns its port, and closes them all."""
    @functools.wraps(test)
    def run(world):
        servers = []

        def serve(script):
            servers.append(Server(script))
            return servers[-1]
        try:
            test(world, serve)
        finally:
            for x in servers:
                x.close()
    return run


def verdicts(r):
    return [x["verdict"] for x in r["rcpt"]]


def expect(r, outcome, *wanted):
    assert r["outcome"] == outcome and verdicts(r) == list(wanted), r


class World:
    def __init__(self, folder):
        self.certs = sending.Certificates(folder)
        self.sender = sending.Sender(folder, self.certs.path("ca.pem"))
        self.hasty = sending.Sender(folder, self.certs.path("ca.pem"), patience=1)

    def log_has(self, *words):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if any(all(w in line for w in words) for line in self.sender.read_log().splitlines()):
                return
            time.sleep(0.02)
        raise AssertionError(f"no line of the log has {words}:\n{self.sender.log}")


@serving
def commands(w, serve):
    """What goes with MAIL and RCPT, and that nothing goes that was not offered."""
    kw = dict(rcpts=(A, B, C), ret=2, envid="a+b =c", orcpt=("rfc822;B+b@x", "utf-8;\\x{E4}@x", "no type"), notify=(6, 1, 15), is_8bit=True)
    srv = serve(smtp())
    expect(w.sender.one([target(srv.port)], **kw), "done", *["delivered"] * 3)
    d = srv.dialogues[0]
    assert d.lines == [
        "EHLO client.test", "MAIL FROM:<anna@client.test> SIZE=21 BODY=8BITMIME RET=HDRS ENVID=a+2Bb+20+3Dc",
        "RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B+2Bb@x",
        "RCPT TO:<carol@example.test> NOTIFY=NEVER ORCPT=utf-8;\\x{E4}@x", "RCPT TO:<dave@example.test> NOTIFY=NEVER", "DATA"], d.lines
    srv = serve(smtp(offers=PLAIN))
    expect(w.sender.one([target(srv.port)], **kw), "done", *["relayed"] * 3)
    assert srv.dialogues[0].lines[1:3] == ["MAIL FROM:<anna@client.test> BODY=8BITMIME", "RCPT TO:<bob@example.test>"]
    srv = serve(smtp(offers=("SMTPUTF8", "8BITMIME", "DSN")))
    expect(w.sender.one([target(srv.port)], utf8=True, path="", rcpts=("j\u00f6rg@example.test",), orcpt=("utf-8;j\u00f6rg@x",)), "done", "delivered")
    assert srv.dialogues[0].lines[1:3] == ["MAIL FROM:<> SMTPUTF8", "RCPT TO:<j\u00f6rg@example.test> ORCPT=utf-8;j\u00f6rg@x"]
    srv = serve(smtp(offers=(), EHLO="502 what?"))
    expect(w.sender.one([target(srv.port)]), "done", "relayed")
    assert srv.dialogues[0].lines[:2] == ["EHLO client.test", "HELO client.test"]
    r = w.sender.one([target(srv.port)], rcpts=("a\r\nDATA@x", A))
    assert verdicts(r) == ["refused", "relayed"] and r["rcpt"][0]["ours"], r
    expect(w.sender.one([target(srv.port)], path="a\r\nb@x", rcpts=(A,)), "done", "refused")


@serving
def order(w, serve):
    """Pipelined: one group, and nothing before the replies to it; else step by step."""
    waits = []

    def note(d, line):
        waits.append(d.waits())
        return "354 x" if line == "DATA" else "250 ok"

    for offers, wanted in ((PIPE, [True, True, True, False]), (PLAIN, [False] * 4), (CHUNK, [True, True, False])):
        waits.clear()
        srv = serve(smtp(offers=offers, MAIL=note, RCPT=note, DATA=note))
        r = w.sender.one([target(srv.port)], rcpts=(A, B))
        assert r["outcome"] == "done" and waits == wanted, (offers, waits, r)


@serving
def texts(w, serve):
    """Octet by octet through DATA and BDAT."""
    rnd = random.Random(7)
    big = b"".join(rnd.choice((b".", b"..", b"", b"a" * 70, b"\xff\x00\x80", b". x", b"x." * 600)) + b"\r\n" for _ in range(40000))
    assert len(big) > 5_000_000
    for text in (b"", b".\r\n", b"..\r\n.\r\n\r\n", b".x\r\n.\r\n", b"a\r\n" * 30000, b"x" * 65535 + b"\r\n.y\r\n", b"x" * 65534 + b"\r\n.y\r\n", big):
        for offers in (PIPE, PLAIN, CHUNK):
            srv = serve(smtp(offers=offers))
            r = w.sender.one([target(srv.port)], text=text, is_8bit=True)
            assert r["outcome"] == "done" and srv.dialogues[0].texts == [text], (offers, len(text), r)
    srv = serve(smtp(context=w.certs.context("good")))
    w.sender.one([target(srv.port)], text=big)
    assert srv.dialogues[0].texts == [big]
    srv = serve(smtp())
    w.sender.one([target(srv.port)], text=b"no end")
    assert srv.dialogues[0].texts == [b"no end\r\n"]


@serving
def recipients(w, serve):
    """Some yes, some no; all no; MAIL refused; with and without pipelining."""
    replies = {A: "250 ok", B: "550 5.1.1 no such user", C: "450 4.2.0 greylisted, come back"}

    def rcpt(d, line):
        return replies[line[line.index("<") + 1:line.index(">")]]

    for offers in (PIPE, PLAIN + ("DSN",), CHUNK):
        srv = serve(smtp(offers=offers, RCPT=rcpt))
        r = w.sender.one([target(srv.port)], rcpts=(B, A, C))
        expect(r, "done", "refused", "delivered", "deferred")
        assert r["reason"] == "greylist" and r["rcpt"][0]["reply"] == "550 5.1.1 no such user" and all(x["remote"] for x in r["rcpt"]), r
        assert len(srv.dialogues[0].texts) == 1 and r["connection"]
        # nobody is left: no text, or an empty one to a server that had said 354 already (RFC 2920)
        srv = serve(smtp(offers=offers, RCPT=rcpt))
        r = w.sender.one([target(srv.port)], rcpts=(B, C))
        expect(r, "done", "refused", "deferred")
        assert srv.dialogues[0].texts in ([], [b""]) and (offers == PIPE) == bool(srv.dialogues[0].texts), srv.dialogues[0].texts
        # and the connection is good for the next
        r = w.sender.one([target(srv.port)], rcpts=(A,), connection=r["connection"])
        expect(r, "done", "delivered")
        assert len(srv.dialogues) == 1 and ("RSET" in srv.dialogues[0].lines) == (offers != PIPE), srv.dialogues[0].lines
        srv = serve(smtp(offers=offers, MAIL="452 4.3.1 full", RCPT="503 no MAIL", DATA="503 no MAIL", BDAT="503"))
        r = w.sender.one([target(srv.port)], rcpts=(A, B))
        expect(r, "done", "deferred", "deferred")
        assert r["rcpt"][1]["reply"] == "452 4.3.1 full", r
        for text, verdict in (("550 5.7.1 spam", "refused"), ("451 4.7.1 later", "deferred")):
            srv = serve(smtp(offers=offers, RCPT=rcpt, TEXT=text))
            r = w.sender.one([target(srv.port)], rcpts=(A, B))
            expect(r, "done", verdict, "refused")
            assert r["rcpt"][0]["reply"] == text and r["connection"], r
    srv = serve(smtp(DATA="554 5.5.1 no"))
    r = w.sender.one([target(srv.port)])
    expect(r, "done", "refused")
    srv = serve(smtp(RCPT="550 no", DATA="503 5.5.1 no valid recipients"))
    expect(w.sender.one([target(srv.port)], rcpts=(A, B)), "done", "refused", "refused")


@serving
def each_stage(w, serve):
    """4xx, 5xx, 421, garbage and a close at each stage: the next target gets the message, or it is deferred; a verdict is one."""
    for stage in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "TEXT"):
        for bad in ("450 4.0.0 not now", "550 5.0.0 never", "421 4.3.2 bye", "* PREAUTH", "999 x", "250-a\r\n550 b", "354 x", None):
            kw = {stage: bad}
            if stage == "EHLO" and bad and bad[0] == "5":
                kw["HELO"] = bad
            if stage == "TEXT" and bad is None:
                kw["TEXT"] = lambda d, line: None
            if (stage, bad) == ("DATA", "354 x"):
                continue
            srv, good = serve(smtp(offers=PIPE, **kw)), serve(smtp())
            r = w.sender.one([target(srv.port), target(good.port, host="mx2.example.test")], rcpts=(A,))
            case = (stage, bad, r)
            is_verdict = bad and bad[:2] in ("45", "55") and stage not in ("greeting", "EHLO")
            if is_verdict:
                expect(r, "done", "deferred" if bad[0] == "4" else "refused")
                assert r["rcpt"][0]["remote"] and r["host"].startswith("mx.example.test ["), case
            elif stage == "TEXT":
                # did it take it? nobody else gets it now
                expect(r, "failed", "deferred")
                assert not good.dialogues and r["reason"] in ("connect", "other"), case
            else:
                expect(r, "done", "delivered")
                assert r["host"] == "mx2.example.test [127.0.0.1]", case
            if stage != "TEXT" and not is_verdict:
                r = w.sender.one([target(srv.port)])
                expect(r, "failed", "deferred")
                assert r["rcpt"][0]["reply"], case
                if stage == "greeting" and bad and bad[:3] in ("450", "550"):
                    assert r["rcpt"][0]["reply"] == bad and r["rcpt"][0]["remote"], r
    w.log_has("remote-odd", "id=" + sending.ID, "no reply of SMTP")


@serving
def hostile_replies(w, serve):
    """S07: endless lines, a line without end, NUL, CR, escapes; S04: more than was asked."""
    def endless(d, line):
        while True:
            d.say("250-x\r\n" * 1000)

    def one_line(d, line):
        d.say("250 ")
        while True:
            d.say("x" * 100_000)

    for on in ({"EHLO": endless}, {"EHLO": one_line}, {"MAIL": endless}, {"RCPT": one_line}, {"TEXT": endless},
               {"EHLO": "250 mx\r\n250 evil"}, {"DATA": "354 a\r\n250 b"}, {"greeting": "220 a\r\n250 b\r\n250 c"}):
        srv = serve(smtp(**on))
        r = w.sender.one([target(srv.port)])
        assert r["outcome"] == "failed" and verdicts(r) == ["deferred"], (on, r)
    srv = serve(smtp(TEXT="550-5.7.1 a\rb\0c\r\n550-\x1b[2J \u00e4\r\n550 x" + "y" * 5000))
    r = w.sender.one([target(srv.port)])
    reply = r["rcpt"][0]["reply"]
    assert reply.startswith("550-5.7.1 a b c\n550- [2J \u00e4\n550 xyyy") and len(reply.encode()) == 1024, reply
    # an extra word behind the last takes nothing from it
    srv = serve(smtp(TEXT="250 ok\r\n421 bye"))
    expect(w.sender.one([target(srv.port)]), "done", "delivered")


@serving
def in_the_text(w, serve):
    """A server that interrupts: 552 counts, 250 is no yes, a reset is tried elsewhere."""
    def interrupted(word):
        def script(d):
            d.say("220 x\r\n")
            for reply in ("250-x\r\n250 PIPELINING", "250 ok", "250 ok", "354 go"):
                d.line()
                d.say(reply + "\r\n")
            d.sock.recv(1000)
            if word:
                d.say(word + "\r\n")
                d.sock.shutdown(socket.SHUT_WR)
                while d.sock.recv(1 << 20):
                    pass
        return script

    text = b"x" * 70 + b"\r\n"
    for word, outcome, verdict in (("552 5.3.4 too big", "done", "refused"), ("452 4.3.1 full", "done", "deferred"), ("250 ok", "failed", "deferred"),
                                   ("421 bye", "failed", "deferred"), (None, "failed", "deferred")):
        srv = serve(interrupted(word))
        r = w.sender.one([target(srv.port)], text=text * 200000)
        assert (r["outcome"], verdicts(r)) == (outcome, [verdict]) and r["connection"] == 0, (word, r)
    srv = serve(smtp())
    r = w.sender.one([target(srv.port)], size=1000)
    expect(r, "done", "deferred")
    assert "cannot be read" in r["rcpt"][0]["reply"] and srv.dialogues[0].ended.wait(10) and srv.dialogues[0].texts == [], r


@serving
def needs(w, serve):
    """What is needed and not offered is refused by us, never stripped (S22); REQUIRETLS is asked of the next server too."""
    none = serve(smtp(offers=("SIZE 10",)))
    for kw, words in (({"utf8": True}, "SMTPUTF8"), ({"rcpts": ("j\u00f6rg@x.test",)}, "SMTPUTF8"), ({"is_8bit": True}, "8BITMIME"), ({}, "size")):
        r = w.sender.one([target(none.port)], **kw)
        expect(r, "done", "refused")
        assert words in r["rcpt"][0]["reply"] and r["rcpt"][0]["ours"] and not r["rcpt"][0]["remote"], r
    assert not any(line.startswith("MAIL") for d in none.dialogues for line in d.lines)
    context = w.certs.context("good")
    clear = serve(smtp(offers=PIPE + ("REQUIRETLS",)))
    no_offer = serve(smtp(context=context))
    good = serve(smtp(offers=PIPE + ("REQUIRETLS",), context=context))
    for targets, words in (([clear], "verified"), ([no_offer], "REQUIRETLS"), ([clear, no_offer], "REQUIRETLS")):
        r = w.sender.one([target(x.port) for x in targets], requiretls=True)
        expect(r, "done", "refused")
        assert words in r["rcpt"][0]["reply"], r
    expect(w.sender.one([target(x.port) for x in (clear, no_offer, good)], requiretls=True), "done", "delivered")
    assert " REQUIRETLS" in next(x for x in good.dialogues[0].lines if x.startswith("MAIL"))


@serving
def tls_modes(w, serve):
    """May, must, PKIX, DANE, implicit: who is believed and what is fallen back to (D02)."""
    good, own = w.certs.context("good"), w.certs.context("self")
    by_key, by_ca = w.certs.digest("self"), w.certs.digest("ca", selector=0)
    wrong = bytes(32)
    servers = {
        "good": serve(smtp(context=good)), "own": serve(smtp(context=own)), "clear": serve(smtp()),
        "expired": serve(smtp(context=w.certs.context("expired"))), "chain": serve(smtp(context=w.certs.context("good", "chain"))),
        "refuses": serve(smtp(context=good, STARTTLS="454 4.7.0 not now")), "never": serve(smtp(context=good, STARTTLS="502 what")),
        "breaks": serve(smtp(context=good, STARTTLS=lambda d, line: d.say("220 go\r\nno TLS\r\n" * 9))),
        "closes": serve(smtp(context=good, STARTTLS=None)), "implicit": serve(smtp(context=good, implicit=True))}
    rows = [  # server, security, more of the target, verified or None
        ("good", MAY, {}, "pkix"), ("own", MAY, {}, "no"), ("expired", MAY, {}, "no"), ("good", MAY, {"host": "other.test"}, "no"),
        ("clear", MAY, {}, ""), ("refuses", MAY, {}, ""), ("never", MAY, {}, ""), ("good", NONE, {}, ""),
        ("good", MUST, {}, "pkix"), ("own", MUST, {}, "no"), ("clear", MUST, {}, None), ("refuses", MUST, {}, None), ("closes", MUST, {}, None),
        ("good", PKIX, {}, "pkix"), ("good", PKIX, {"host": "a.wild.test"}, "pkix"), ("own", PKIX, {}, None), ("expired", PKIX, {}, None),
        ("good", PKIX, {"host": "other.test"}, None), ("good", PKIX, {"host": "other.test", "names": ("*.example.test",)}, "pkix"),
        ("good", PKIX, {"names": ("*.test",)}, None), ("clear", PKIX, {}, None), ("never", PKIX, {}, None),
        ("own", DANE, {"tlsa": [(3, 1, 1, by_key)]}, "dane"), ("own", DANE, {"tlsa": [(3, 1, 1, by_key)], "host": "other.test"}, "dane"),
        ("own", DANE, {"tlsa": [(3, 1, 1, wrong)]}, None), ("good", DANE, {"tlsa": [(3, 1, 1, by_key)]}, None), ("good", DANE, {"tlsa": []}, None),
        ("clear", DANE, {"tlsa": [(3, 1, 1, by_key)]}, None), ("expired", DANE, {"tlsa": [(3, 1, 1, w.certs.digest("expired"))]}, "dane"),
        ("chain", DANE, {"tlsa": [(2, 0, 1, by_ca)]}, "dane"), ("chain", DANE, {"tlsa": [(2, 0, 1, by_ca)], "host": "other.test"}, None),
        ("chain", DANE, {"tlsa": [(2, 0, 1, by_ca)], "host": "other.test", "names": ("mx.example.test",)}, "dane"),
        ("implicit", PKIX, {"implicit": True}, "pkix"), ("implicit", PKIX, {"implicit": True, "host": "other.test"}, None)]
    for name, security, more, wanted in rows:
        r = w.sender.one([target(servers[name].port, security, **more)])
        case = (name, security, more, r)
        if wanted is None:
            expect(r, "failed", "deferred")
            assert r["reason"] == "tls" and r["rcpt"][0]["ours"], case
            d = servers[name].dialogues[-1]
            assert not any(x.startswith("MAIL") for x in d.lines), case
        else:
            expect(r, "done", "delivered")
            assert r["tls"].endswith("verified=" + wanted) if wanted else r["tls"] == "", case
    # a handshake that fails: opportunistic goes once more, in clear
    w.log_has("remote-tls", "in clear", "454")
    broken = serve(smtp(context=good, STARTTLS=lambda d, line: d.say("220 go\r\n") or d.sock.recv(100) and None))
    expect(w.sender.one([target(broken.port)]), "done", "delivered")
    assert len(broken.dialogues) == 2 and "STARTTLS" not in broken.dialogues[1].lines
    # a target that fails by TLS is followed by the next; at the end it is TLS that is told
    gone = socket.socket()
    gone.bind(("127.0.0.1", 0))
    r = w.sender.one([target(servers["own"].port, PKIX), target(gone.getsockname()[1], PKIX)])
    assert (r["outcome"], r["reason"]) == ("failed", "tls"), r
    expect(w.sender.one([target(servers["own"].port, PKIX), target(servers["good"].port, PKIX)]), "done", "delivered")
    # S04: what stands behind 220 in clear is nobody's, and no reason to go on in clear
    evil = serve(smtp(context=good, STARTTLS="220 ok\r\n250 evil"))
    r = w.sender.one([target(evil.port)])
    expect(r, "failed", "deferred")
    assert len(evil.dialogues) == 1 and evil.dialogues[0].lines == ["EHLO client.test", "STARTTLS"], r


@serving
def login(w, serve):
    """AUTH PLAIN, or LOGIN, over verified TLS only."""
    good = w.certs.context("good")
    kw = dict(user="anna", password="Einschreiben")
    srv = serve(smtp(offers=PIPE + ("AUTH LOGIN PLAIN",), context=good, AUTH="235 ok"))
    expect(w.sender.one([target(srv.port, PKIX)], **kw), "done", "delivered")
    assert "AUTH PLAIN AGFubmEARWluc2NocmVpYmVu" in srv.dialogues[0].lines

    def auth_login(d, line):
        d.say("334 VXNlcm5hbWU6\r\n")
        assert d.line() == "YW5uYQ=="
        d.say("334 UGFzc3dvcmQ6\r\n")
        assert d.line() == "RWluc2NocmVpYmVu"
        return "235 ok"

    srv = serve(smtp(offers=PIPE + ("AUTH LOGIN",), context=good, AUTH=auth_login))
    expect(w.sender.one([target(srv.port, PKIX)], **kw), "done", "delivered")
    srv = serve(smtp(offers=PIPE + ("AUTH PLAIN",), context=good, AUTH="535 5.7.8 wrong"))
    r = w.sender.one([target(srv.port, PKIX)], **kw)
    expect(r, "failed", "deferred")
    assert r["rcpt"][0]["reply"] == "535 5.7.8 wrong", r
    for name, security, offers in (("self", MUST, ("AUTH PLAIN",)), (None, MAY, ("AUTH PLAIN",)), ("good", PKIX, ())):
        srv = serve(smtp(offers=PIPE + offers, context=name and w.certs.context(name), AUTH="235 ok"))
        expect(w.sender.one([target(srv.port, security)], **kw), "failed", "deferred")
        assert not any(x.startswith("AUTH") for x in srv.dialogues[0].lines)


@serving
def reuse(w, serve):
    """One connection for many; another's is not taken; what closed meanwhile is no failure; 100 at most."""
    srv, other = serve(smtp(RCPT=lambda d, line: "550 no" if "carol" in line else "250 ok")), serve(smtp())
    r = w.sender.one([target(srv.port)])
    for i in range(3):
        r = w.sender.one([target(other.port), target(srv.port)], connection=r["connection"], rcpts=(A, B))
        expect(r, "done", "delivered", "refused")
    assert len(srv.dialogues) == 1 and len(srv.dialogues[0].texts) == 4 and not other.dialogues
    # other TLS, another login: not over this
    for kw, t in (({}, target(srv.port, MUST)), ({"user": "x"}, target(srv.port)), ({}, target(other.port)), ({}, target(srv.port, host="mx3.test"))):
        r = w.sender.one([target(srv.port)])
        n = len(srv.dialogues)
        r = w.sender.one([t], connection=r["connection"], **kw)
        assert srv.dialogues[n - 1].ended.wait(10) and srv.dialogues[n - 1].lines[-1] == "QUIT", r
    # closed while it idled, or at the next MAIL: from the start
    r = w.sender.one([target(srv.port)])
    d = srv.dialogues[-1]
    d.sock.shutdown(socket.SHUT_RDWR)
    while r["connection"] not in w.sender.closed:
        w.sender.take()
    expect(w.sender.one([target(srv.port)], connection=r["connection"]), "done", "delivered")
    rude = serve(smtp(MAIL=lambda d, line: "421 bye" if d.texts else "250 ok"))
    r = w.sender.one([target(rude.port)])
    r = w.sender.one([target(rude.port)], connection=r["connection"])
    expect(r, "done", "delivered")
    assert len(rude.dialogues) == 2
    connection, srv = 0, serve(smtp())
    for i in range(100):
        r = w.sender.one([target(srv.port)], connection=connection)
        connection = r["connection"]
    assert connection == 0 and len(srv.dialogues) == 1 and len(srv.dialogues[0].texts) == 100
    # SEND_CLOSE
    r = w.sender.one([target(srv.port)])
    w.sender.peer.send(sending.message("SEND_CLOSE", sending.u(r["connection"])))
    assert srv.dialogues[-1].ended.wait(10) and srv.dialogues[-1].lines[-1] == "QUIT"


@serving
def idle_end(w, serve):
    """An idle connection says QUIT after ten seconds, and it is told."""
    srv = serve(smtp())
    r = w.sender.one([target(srv.port)])
    began = time.monotonic()
    while r["connection"] not in w.sender.closed:
        w.sender.take()
    assert 9 < time.monotonic() - began < 20
    assert srv.dialogues[0].ended.wait(10) and srv.dialogues[0].lines[-1] == "QUIT"


@serving
def time_limits(w, serve):
    """A stage has its time, whatever trickles in: a second here (the test's patience)."""
    def trickle(d, line=None):
        for c in "250-" + "x" * 300:
            d.say(c)
            time.sleep(0.1)

    def silent(d, line=None):
        d.ended.wait(20)

    def deaf(d):
        smtp_until_data(d)
        d.ended.wait(20)

    def smtp_until_data(d):
        d.say("220 x\r\n")
        for reply in ("250 x", "250 ok", "250 ok", "354 go"):
            d.line()
            d.say(reply + "\r\n")

    context = w.certs.context("good")
    scripts = [smtp(EHLO=trickle), smtp(MAIL=silent), smtp(RCPT=trickle), smtp(DATA=silent), smtp(TEXT=silent), smtp(TEXT=trickle), silent, deaf,
               smtp(context=context, STARTTLS=lambda d, line: d.say("220 go\r\n") or silent(d))]
    # as many at once as there are scripts
    began = time.monotonic()
    ids = {}
    for i, script in enumerate(scripts):
        ids[f"0abcdefghjk{i:02}"] = i
        w.hasty.send([target(serve(script).port, MUST if i == 8 else MAY)], text=b"x" * 998 + b"\r\n" * 30000, ident=f"0abcdefghjk{i:02}")
    for _ in scripts:
        r = w.hasty.result()
        assert r["outcome"] == "failed" and verdicts(r) == ["deferred"], (ids[r["id"]], r)
        assert r["reason"] == ("tls" if ids[r["id"]] == 8 else "connect"), (ids[r["id"]], r)
    assert time.monotonic() - began < 15, time.monotonic() - began
    # nobody answers at all: a full queue of a listener that accepts nobody
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(4):
        x = socket.socket()
        x.setblocking(False)
        x.connect_ex(full.getsockname())
        fillers.append(x)
    r = w.hasty.one([target(full.getsockname()[1])])
    expect(r, "failed", "deferred")
    for x in (*fillers, full):
        x.close()


@serving
def lost_reply(w, serve):
    """Gone after the dot without a word: deferred, nobody else is asked, and it is told as the destination's failure."""
    for end in (lambda d, line: None, lambda d, line: d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))):
        for offers in (PIPE, PLAIN):
            srv, good = serve(smtp(offers=offers, TEXT=end)), serve(smtp())
            r = w.sender.one([target(srv.port), target(good.port)], rcpts=(A, B))
            expect(r, "failed", "deferred", "deferred")
            assert r["reason"] == "connect" and not good.dialogues and r["rcpt"][0]["ours"] and len(srv.dialogues[0].texts) == 1, r


@serving
def many(w, serve):
    """Hundreds at once."""
    srv = serve(smtp())
    n = 300
    for i in range(n):
        w.sender.send([target(srv.port)], ident=f"0abcdefgh{i:04}", text=b"y" * 50000 + b"\r\n")
    ids = set()
    for _ in range(n):
        r = w.sender.result()
        expect(r, "done", "delivered")
        ids.add(r["id"])
    assert len(ids) == n


def malformed(w):
    """A job that is none closes the channel, and no more."""
    s = sending.Sender(w.sender.folder, w.certs.path("none.pem"))
    assert "none.pem" in s.read_log()  # and without authorities it serves as well
    s.peer.send(sending.message("SEND", b"\0" * 100))
    assert s.peer.recv(100) == b""
    s.stop()


def stop_in_order(w):
    """A job that runs is finished, then the process ends."""
    go = threading.Event()
    srv = Server(smtp(TEXT=lambda d, line: go.wait(20) and "250 ok"))
    w.sender.send([target(srv.port)])
    while not srv.dialogues or not srv.dialogues[0].texts:
        time.sleep(0.01)
    w.sender.tell("ROLE_STOP")
    time.sleep(0.2)
    assert w.sender.p.poll() is None
    go.set()
    expect(w.sender.result(), "done", "delivered")
    assert w.sender.p.wait(sending.WAIT) == 0
    w.hasty.stop()
    srv.close()


TESTS = [commands, order, texts, recipients, each_stage, hostile_replies, in_the_text, needs, tls_modes, login, reuse, idle_end, time_limits,
         lost_reply, many, malformed, stop_in_order]


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        w = World(folder)
        for test in TESTS:
            if len(sys.argv) > 1 and test.__name__ not in sys.argv[1:]:
                continue
            began = time.monotonic()
            test(w)
            print(f"ok   {test.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        for s in (w.sender, w.hasty):
            if s.p.poll() is None:
                s.p.kill()


if __name__ == "__main__":
    main()
