#!/usr/bin/env python3
"""Where mail goes: MX records of all kinds, ourselves, private addresses, smarthosts, backup MX, literals, forwards."""
import re
import smtplib
import sys

import office
import wayout

FIRST, SECOND, TWIN1, TWIN2, HERE, SMART, SMARTS, PRIMARY, SENDER = (f"127.0.4.{i}" for i in range(1, 10))
US = "mail.example.test."


def zones(w):
    return {
        "order.test": w.mx(FIRST, SECOND),
        "twins.test": f"@ MX 10 a\n@ MX 10 b\na A {TWIN1}\nb A {TWIN2}\n",
        "addresses.test": f"@ MX 10 a\na A {TWIN1}\na A {TWIN2}\n",
        "plain-a.test": f"@ A {HERE}\n",
        "alias.test": "@ MX 10 mx\nmx CNAME mx1.order.test.\n",
        "cname.test": "sub CNAME plain-a.test.\n",
        "null.test": "@ MX 0 .\n",
        "nohost.test": "@ TXT \"nothing here\"\n",
        "mx-nowhere.test": "@ MX 10 mx.no-such.test.\n",
        "loop.test": f"@ MX 10 {US}\n",
        "we-are-second.test": f"@ MX 10 a\n@ MX 20 {US}\n@ MX 30 b\na A {FIRST}\nb A {SECOND}\n",
        "mail.example.test": "@ A 127.0.0.1\n",
        "smart.test": f"a A {SMART}\nb A {SMARTS}\n",
        "backup.test": f"@ MX 10 a\n@ MX 20 {US}\na A {PRIMARY}\n",
        "sender.test": w.mx(SENDER),
        "target.test": w.mx(HERE),
        "metadata.test": "@ MX 10 a\na A 169.254.169.254\n", "net10.test": "@ MX 10 a\na A 10.1.2.3\n", "zero.test": "@ MX 10 a\na A 0.0.0.0\n",
        "net192.test": "@ MX 10 a\na A 192.168.1.1\n", "lo6.test": "@ MX 10 a\na AAAA ::1\n", "mapped.test": "@ MX 10 a\na AAAA ::ffff:127.0.4.1\n",
        "ula.test": "@ MX 10 a\na AAAA fd00::1\n", "mixed.test": f"@ MX 10 a\n@ MX 20 b\na A 127.0.4.1\nb A 10.0.0.1\n",
    }


def settings(w):
    return 'backup_mx = ( { domain = "backup.test"; } );\n'


def sent(w, to, subject, address):
    w.sink.hang_up()  # a connection that is open is used again, whatever the records say
    ident = w.submit(to, subject)
    w.event(ident, "sent", rcpt=to.lower())
    m = w.sink.find(subject)
    assert m.address == address, f"{to} went to {m.address}"
    return m


def bounced(w, to, status):
    w.sink.hang_up()
    subject = f"no way to {to}"
    ident = w.submit(to, subject)
    e = w.event(ident, "bounced|deferred|sent", rcpt=to)
    assert e.name == "bounced", (to, e.name, dict(e))
    got = w.dsn(subject).of(to)["status"]
    assert re.fullmatch(status, got), f"{to}: {got}, not {status}"


def order(w):
    """The best first; the next when nobody answers, or answers 4xx at once."""
    sent(w, "x@order.test", "best", FIRST)
    w.sink[FIRST].replies["greeting"] = "421 4.3.2 busy"
    w.sink.hang_up()
    sent(w, "x@order.test", "best is busy", SECOND)
    w.sink[FIRST].reset()
    w.sink.down(FIRST)
    w.forward(4000)
    sent(w, "x@order.test", "best is down", SECOND)
    w.sink.up(FIRST)
    w.forward(4000)
    sent(w, "x@order.test", "best is back", FIRST)


def refusal_is_final(w):
    """550 of the best server is an answer: the next is not asked."""
    w.sink[FIRST].replies["rcpt"] = "550 5.1.1 no"
    before = w.sink.tries(SECOND)
    bounced(w, "nobody@order.test", r"5\.1\.1")
    assert w.sink.tries(SECOND) == before
    w.sink[FIRST].reset()


def twins(w):
    """Of equal ones each has its share; one that is down costs nothing."""
    for name in ("twins", "addresses"):
        w.sink.clear()
        w.sink.down(TWIN1)
        sent(w, f"x@{name}.test", f"{name} one down", TWIN2)
        w.sink.up(TWIN1)
        w.sink.down(TWIN2)
        w.forward(4000)
        sent(w, f"x@{name}.test", f"{name} other down", TWIN1)
        w.sink.up(TWIN2)
        w.forward(4000)


def shuffled(w):
    """Twenty domains with the same two servers: not all begin with the same."""
    names = [f"twin{i}.test" for i in range(20)]
    w.dns.update({n: f"@ MX 10 a\n@ MX 10 b\na A {TWIN1}\nb A {TWIN2}\n" for n in names})
    w.sink.clear()
    w.submit([f"x@{n}" for n in names], "shuffled")
    got = w.sink.wait(20, where=lambda m: m.subject == "shuffled")
    assert {m.address for m in got} == {TWIN1, TWIN2}, "equal preference is not shuffled"


def names(w):
    sent(w, "x@plain-a.test", "A alone", HERE)
    sent(w, "x@alias.test", "MX is an alias", FIRST)
    sent(w, "x@sub.cname.test", "domain is an alias", HERE)
    sent(w, "x@ORDER.Test", "upper case", FIRST)
    bounced(w, "x@null.test", r"5\.1\.10")
    bounced(w, "x@no-such.test", r"5\.1\.2")
    bounced(w, "x@nohost.test", r"5\.4\.4")
    bounced(w, "x@mx-nowhere.test", r"5\.4\.4|5\.1\.2")


def ourselves(w):
    """RFC 5321 5.1: those as good as we are, and worse ones, are left out."""
    bounced(w, "x@loop.test", r"5\.4\.6")
    sent(w, "x@we-are-second.test", "better than we", FIRST)
    w.sink.down(FIRST)
    before = w.sink.tries(SECOND)
    ident = w.submit("x@we-are-second.test", "worse than we")
    w.event(ident, "deferred", rcpt="x@we-are-second.test")
    assert w.sink.tries(SECOND) == before, "a server behind us in the list was asked"
    w.sink.up(FIRST)
    w.forward(450)
    w.event(ident, "sent")


def literal(w):
    sent(w, f"x@[{HERE}]", "literal", HERE)


def forwards(w):
    """SRS there and back; what has been here is not sent round again."""
    w.cli("alias", "add", "fwd@example.test", "x@target.test")
    w.cli("alias", "add", "both@example.test", "x@target.test")
    w.cli("alias", "add", "both@example.test", "u0@example.test")
    text = office.message("forwarded", sender="a@sender.test", to="fwd@example.test")
    ident = w.inbound("fwd@example.test", "forwarded", text=text)
    w.event(ident, "sent", rcpt="x@target.test")
    m = w.sink.find("forwarded")
    assert re.fullmatch(r"SRS0[=+-][^@]+=sender\.test=a@example\.test", m.mail), m.mail
    assert m.text.endswith(text), "what is forwarded is changed"
    # its bounce finds the sender
    with w.smtp() as s:
        s.sendmail("", [m.mail], office.message("a bounce", sender="mailer-daemon@target.test", to=m.mail))
    back = w.sink.find("a bounce")
    assert back.address == SENDER and back.to == ["a@sender.test"] and back.mail == "", back
    # nobody else's
    forged = re.sub(r"(SRS0[=+-])(....)", lambda x: x.group(1) + ("AAAA" if x.group(2) != "AAAA" else "BBBB"), m.mail)
    for to in (forged, "SRS0=AAAA=BB=sender.test=a@example.test", "SRS0=x@example.test", "SRS1=AAAA=sender.test==x@example.test"):
        with w.smtp() as s:
            try:
                s.sendmail("", [to], office.message("forged"))
                raise AssertionError(f"{to} was taken")
            except smtplib.SMTPRecipientsRefused as e:
                assert all(code >= 500 for code, _ in e.recipients.values()), e.recipients
    assert b"DKIM-Signature:" in m.text.split(b"\r\n\r\n", 1)[0], "what is forwarded is not signed"
    # an outsider who calls himself one of us gets neither our signature nor our reverse-path
    w.inbound("fwd@example.test", "false", sender="u0@example.test",
              text=office.message("false", sender="u0@example.test", to="fwd@example.test"))
    m = w.sink.find("false")
    assert b"DKIM-Signature:" not in m.text.split(b"\r\n\r\n", 1)[0] and m.mail.startswith("SRS0="), (m.mail, m.text[:500])
    ident = w.inbound("both@example.test", "here and there")
    w.find("here and there")
    w.sink.find("here and there")


def forward_loop(w):
    """Delivered-To says that it was here: 554 5.4.6 in the session."""
    w.cli("alias", "add", "round@example.test", "x@target.test")
    ident = w.inbound("round@example.test", "round")
    w.event(ident, "sent")
    m = w.sink.find("round")
    delivered = re.search(rb"(?im)^Delivered-To: *(\S+)", m.text)
    assert delivered and delivered.group(1) == b"round@example.test", m.text[:600]
    with w.smtp() as s:
        try:
            s.sendmail("x@target.test", ["round@example.test"], m.text)
            raise AssertionError("a message that was here is sent round again")
        except smtplib.SMTPDataError as e:
            assert e.smtp_code == 554 and e.smtp_error.startswith(b"5.4.6"), e


def backup(w):
    """Kept while the primary is away, longer than other mail; nobody's address is refused for that; then delivered."""
    w.sink.down(PRIMARY)
    ident = w.inbound("x@backup.test", "kept")
    w.event(ident, "deferred", rcpt="x@backup.test")
    with w.smtp() as s:
        assert s.docmd("MAIL", "FROM:<a@sender.test>")[0] == 250
        assert s.docmd("RCPT", "TO:<x@order.test>")[0] >= 500
        assert s.docmd("RCPT", "TO:<x@sub.backup.test>")[0] >= 500
    for days in (4, 4):  # beyond the five days of other mail
        w.retry(ident, days * 86400, rcpt="x@backup.test")
    assert w.count(ident, "bounced") == 0 and not [m for m in w.sink.messages() if "multipart/report" in str(m.header("Content-Type"))]
    w.sink.up(PRIMARY)
    assert w.retry(ident, 5001).name == "sent"
    m = w.sink.find("kept")
    assert m.address == PRIMARY and m.mail == "a@sender.test", m
    assert b"Delivered-To" not in m.text and b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test" not in m.text


def smarthosts(w):
    """By destination, by the sender's domain, for all; with AUTH over verified TLS."""
    w.cli("domain", "add", "second.test")
    w.cli("account", "add", "u0@second.test", stdin=w.password + "\n")
    a, b = w.sink[SMART], w.sink[SMARTS]
    a.tls, a.users, a.tls_only_auth = w.ca.leaf("a.smart.test"), {"us": "Geheim-1"}, True
    b.tls, b.users, b.implicit = w.ca.leaf("b.smart.test"), {"them": "Geheim-2"}, True
    files = [w.secret("first", "Geheim-1"), w.secret("second", "Geheim-2")]
    to_a = f'host = "a.smart.test"; port = {w.sink.port}; tls = "required"; user = "us"; password_file = "{files[0]}";'
    to_b = f'host = "b.smart.test"; port = {w.sink.port}; tls = "implicit"; user = "them"; password_file = "{files[1]}";'
    w.reconfigure(settings(w) + f'routes = ( {{ to = "order.test"; {to_a} }}, {{ from = "second.test"; {to_b} }},\n'
                  f'{{ to = "target.test"; host = "{SECOND}"; port = {w.sink.port}; tls = "none"; }} );\n')
    m = sent(w, "x@order.test", "by destination", SMART)
    assert m.user == "us" and m.tls, m
    m = sent(w, "x@target.test", "fixed", SECOND)
    assert m.user is None and m.tls is None, m
    sent(w, "x@plain-a.test", "as the MX says", HERE)
    with smtplib.SMTP_SSL(w.info["host"], w.port("submissions"), context=w.tls(), timeout=20) as s:
        s.login("u0@second.test", w.password)
        w.hand(s, "x@plain-a.test", "by sender", "u0@second.test")
    m = w.sink.find("by sender")
    assert m.address == SMARTS and m.user == "them" and m.tls, m
    w.reconfigure(settings(w) + f"routes = ( {{ {to_a} }} );\n")
    assert sent(w, "x@plain-a.test", "for all", SMART).user == "us"
    assert "Geheim" not in w.log()


def smarthost_refuses(w):
    """A wrong password is the administrator's to mend: kept, not bounced; and never sent around it."""
    w.sink[SMART].users = {"us": "another"}
    w.sink.hang_up()
    ident = w.submit("x@plain-a.test", "wrong password")
    w.event(ident, "deferred", rcpt="x@plain-a.test")
    w.sink[SMART].users = {"us": "Geheim-1"}
    assert w.retry(ident).name == "sent"
    assert w.sink.find("wrong password").address == SMART
    w.sink[SMART].tls = w.ca.leaf("wrong.smart.test")
    w.sink.hang_up()
    ident = w.submit("x@plain-a.test", "wrong certificate")
    e = w.event(ident, "deferred", rcpt="x@plain-a.test")
    assert e["reason"] == "tls", e
    assert not any(c.upper().startswith("AUTH") for c in w.sink.connections[-1].commands), "the password went to a stranger"


def private(w):
    """Records of the world must not lead inside (security.md D03); a route may."""
    w.reconfigure(f'routes = ( {{ to = "target.test"; host = "{SECOND}"; port = {w.sink.port}; }} );\n', private=False)
    before = w.sink.tries()
    for name in ("order", "metadata", "net10", "net192", "zero", "lo6", "mapped", "ula", "mixed"):
        bounced(w, f"p@{name}.test", r"5\.4\.6|5\.4\.4")
    bounced(w, "p@[127.0.4.1]", r"5\.\d\.\d+")
    assert w.sink.tries() == before, "a private address was called"
    sent(w, "x@target.test", "a route may", SECOND)


STEPS = [order, refusal_is_final, twins, shuffled, names, ourselves, literal, forwards, forward_loop, backup, smarthosts, smarthost_refuses, private]

if __name__ == "__main__":
    sys.exit(wayout.main(STEPS, zones=zones, settings=settings,
                         addresses=[FIRST, SECOND, TWIN1, TWIN2, HERE, SMART, SMARTS, PRIMARY, SENDER]))
