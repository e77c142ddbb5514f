#!/usr/bin/env python3
"""The tests' own tools: does the bad server behave as badly as its manual says, and do the real ones start?"""
import contextlib
import re
import shutil
import smtplib
import socket
import ssl
import sys
import tempfile
import time

import badserver
import certs
import peers


def sink_keeps(s, ca):
    text = b"Subject: one\r\n folded\r\n\r\n.dot\r\n..\r\n\xff\r\n"
    with smtplib.SMTP("127.0.0.2", s.port, timeout=10) as c:
        c.ehlo("client.test")
        assert set(c.esmtp_features) == {"pipelining", "8bitmime", "smtputf8", "dsn", "chunking", "enhancedstatuscodes", "size"}
        c.sendmail("a@b.test", ["x@y.test", "z@y.test"], text, ["BODY=8BITMIME", "ENVID=q1"], ["NOTIFY=NEVER"])
        c.sendmail("", ["x@y.test"], b".first\r\n")
        c.docmd("MAIL", "FROM:<c@d.test>")
        c.docmd("RCPT", "TO:<\"odd > one\"@y.test>")
        c.send(b"BDAT 10\r\n.chunk\r\n..BDAT 3 LAST\r\n\r\n.")
        assert c.getreply()[0] == 250 and c.getreply()[0] == 250
    one, two, three = s.wait(3)
    assert one.text == text and one.mail == "a@b.test" and one.to == ["x@y.test", "z@y.test"], one
    assert one.mail_params["ENVID"] == "q1" and one.rcpts[0][1] == {"NOTIFY": "NEVER"} and one.tls is None, one
    assert two.text == b".first\r\n" and two.mail == "" and two.connection == one.connection, two
    assert three.text == b".chunk\r\n..\r\n." and three.chunked and three.to == ['"odd > one"@y.test'], three
    assert one.subject == "one folded" and one.helo == "client.test"


def refusals(s, ca):
    how = s["127.0.0.2"]
    how.replies = {"rcpt": badserver.greylist(), "rcpt:no@y.test": "550 5.1.1 No", "dot": ["452 4.3.1 Full", None], "mail": ["421 4.3.2 Away", None]}
    with smtplib.SMTP("127.0.0.2", s.port, timeout=10) as c:
        c.ehlo()
        assert c.docmd("MAIL", "FROM:<a@b.test>")[0] == 421
        assert c.docmd("MAIL", "FROM:<a@b.test>")[0] == 250
        assert [c.docmd("RCPT", f"TO:<{x}@y.test>")[0] for x in ("x", "no", "x")] == [451, 550, 250]
        assert c.data(b"Subject: a\r\n\r\n")[0] == 452
        c.sendmail("a@b.test", ["x@y.test"], b"Subject: b\r\n\r\n")
    assert [m.subject for m in s.messages()] == ["b"] and len(s.messages(accepted=None)) == 2


def ends(s, ca):
    how = s["127.0.0.2"]

    def ask(stage, r, *lines):
        how.reset()
        how.replies = {stage: r}
        with socket.create_connection(("127.0.0.2", s.port), timeout=3) as c:
            out = b""
            try:
                with contextlib.suppress(BrokenPipeError):
                    for x in lines:
                        c.sendall(x)
                        time.sleep(0.02)
                while len(out) < 1 << 20:
                    got = c.recv(1 << 16)
                    if not got:
                        return out
                    out += got
            except (TimeoutError, ConnectionResetError) as e:
                return type(e).__name__
        return "endless"
    hello = b"EHLO x\r\n"
    mail = (hello, b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"x\r\n.\r\n")
    assert ask("greeting", badserver.CLOSE) == b"" and ask("greeting", badserver.RST) == "ConnectionResetError"
    assert ask("greeting", badserver.SILENT) == "TimeoutError" and ask("greeting", badserver.HALF_CLOSE) == b""
    assert ask("ehlo", badserver.Endless(b"250-more\r\n"), hello) == "endless"
    assert ask("ehlo", b"250 \0\rhello\r\n", hello, b"QUIT\r\n").count(b"250 \0\rhello") == 1
    assert ask("greeting", badserver.Then("220 x", badserver.CLOSE)) == b"220 x\r\n"
    assert ask("greeting", badserver.Then(badserver.Slow("220 x", 0.01), badserver.CLOSE)) == b"220 x\r\n"
    assert ask("greeting", badserver.Wait(0.1, badserver.Then("220 x", badserver.CLOSE))) == b"220 x\r\n"
    for stage in ("mail", "rcpt", "data", "dot"):
        before = len(s.messages())
        assert b"250" in ask(stage, badserver.CLOSE, *mail) and len(s.messages()) == before
        assert ask(stage, badserver.RST, *mail) == "ConnectionResetError"
    assert ask("dot", badserver.Taken(badserver.CLOSE), *mail).endswith(b"354 Go ahead\r\n") and len(s.messages()) == before + 1


def tls(s, ca):
    good, old = ca.leaf("mx.y.test", "*.y.test"), ca.leaf("mx.y.test", expired=True)
    how = s["127.0.0.2"]

    def talk(name="mx.y.test"):
        ctx = ssl.create_default_context(cafile=ca.file)
        with socket.create_connection(("127.0.0.2", s.port), timeout=5) as raw:
            f = raw.makefile("rb")
            f.readline()
            raw.sendall(b"EHLO x\r\n")
            while f.readline()[3:4] == b"-":
                pass
            raw.sendall(b"STARTTLS\r\nRSET\r\n")
            assert f.readline().startswith(b"220")
            with ctx.wrap_socket(raw, server_hostname=name) as t:
                t.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: tls\r\n\r\n.\r\nQUIT\r\n")
                while t.recv(4096):
                    pass

    def refused(*args):
        try:
            talk(*args)
        except (OSError, ssl.SSLError) as e:
            return str(e)
        return None
    how.tls = good
    talk()
    m = s.find("tls")
    assert m.tls == "TLSv1.3" and m.sni == "mx.y.test" and s.connections[-1].leftover == b"RSET\r\n", m
    assert "Hostname mismatch" in refused("mx.z.test")
    how.tls = old
    assert "expired" in refused()
    how.tls, how.replies = good, {"handshake": b"250 no TLS\r\n"}
    assert refused()
    how.replies = {"handshake": badserver.CLOSE}
    assert refused()
    assert re.fullmatch(r"3 1 1 [0-9a-f]{64}", good.tlsa(3)) and good.tlsa(3) != old.tlsa(3)
    assert re.fullmatch(r"2 0 2 [0-9a-f]{128}", ca.tlsa(2, 0, 2))
    how.reset()
    how.tls, how.implicit, how.users = good, True, {"me": "secret"}
    ctx = ssl.create_default_context(cafile=ca.file)
    ctx.check_hostname = False
    with smtplib.SMTP_SSL("127.0.0.2", s.port, context=ctx, timeout=5) as c:
        assert c.docmd("MAIL", "FROM:<a@b>")[0] in (503, 530)
        for mechanism in ("PLAIN", "LOGIN"):
            c.ehlo()
            c.user, c.password = "me", "secret"
            c.auth(mechanism.lower(), getattr(c, "auth_" + mechanism.lower()), initial_response_ok=mechanism == "PLAIN")
        c.sendmail("a@b", ["c@d"], b"Subject: auth\r\n\r\n")
    assert s.find("auth").user == "me"


def limits(s, ca):
    s["127.0.0.3"].limit, s["127.0.0.2"].per_connection = 1, 1
    with socket.create_connection(("127.0.0.3", s.port), timeout=5) as a:
        assert a.recv(100).startswith(b"220")
        with socket.create_connection(("127.0.0.3", s.port), timeout=5) as b:
            assert b.recv(100).startswith(b"421")
    assert s.peak("127.0.0.3") == 2
    with smtplib.SMTP("127.0.0.2", s.port, timeout=5) as c:
        c.sendmail("a@b", ["c@d"], b"Subject: x\r\n\r\n")
        assert c.docmd("MAIL", "FROM:<a@b>")[0] == 421
    s.down("127.0.0.3")
    try:
        socket.create_connection(("127.0.0.3", s.port), timeout=5)
        raise AssertionError("a server that is down answers")
    except ConnectionRefusedError:
        pass
    s.up("127.0.0.3")
    socket.create_connection(("127.0.0.3", s.port), timeout=5).close()


def real(s, ca):
    """Each takes a mail over TLS for its mailbox, and one that it relays to the sink."""
    leaf, ctx = ca.leaf("mx.remote.test"), ssl.create_default_context(cafile=ca.file)
    ctx.check_hostname = False
    for i, kind in enumerate(peers.KINDS):
        with peers.start(kind, f"127.0.0.{4 + i}", s.port, ["remote.test"], {"other.test": ("127.0.0.2", s.port)}, leaf) as p:
            with smtplib.SMTP(p.address, p.port, local_hostname="client.test", timeout=10) as c:
                if kind != "opensmtpd":
                    c.starttls(context=ctx)
                c.sendmail("a@b.test", ["x@remote.test"], b"From: a@b.test\r\nMessage-ID: <1@b>\r\nSubject: in\r\n\r\ntext\r\n")
            p.answer(p.find("in"), "x@remote.test", "a@other.test", kind)
            m = s.find(kind)
            assert m.to == ["a@other.test"] and m.text.endswith(b"\r\n\r\nThank you.\r\n") and m.header("In-Reply-To") == "<1@b>", m
        try:
            socket.create_connection((p.address, p.port), timeout=1).close()
            raise AssertionError(f"{kind} is still there")
        except OSError:
            pass
        with peers.start(kind, p.address, s.port, ["remote.test"], leaf=leaf, require_tls=True) as p:
            with smtplib.SMTP(p.address, p.port, local_hostname="client.test", timeout=10) as c:
                c.ehlo()
                assert c.docmd("MAIL", "FROM:<a@b.test>")[0] >= 500, f"{kind} takes mail in clear"


TESTS = [sink_keeps, refusals, ends, tls, limits]


def main():
    folder = tempfile.mkdtemp(prefix="postamt-harness-")
    try:
        ca = certs.Authority(folder)
        reason = peers.missing()
        if reason:
            print("skipped: real:", reason)
        for test in TESTS if reason else TESTS + [real]:
            with badserver.Server(["127.0.0.2", "127.0.0.3"]) as s:
                test(s, ca)
            print("ok  ", test.__name__, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
