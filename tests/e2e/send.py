#!/usr/bin/env python3
"""Mail in, with swaks, curl and smtplib: ports 25, 587 and 465, all ways to log in, what must arrive unchanged."""
import base64
import os
import smtplib
import sys
import time

import office

BODY = "Grüße aus München, 8 bits each: äöüß €\r\n.a dot first\r\n..two dots\r\n.\r\n\ttab \x01\x7f and a long line " + "x" * 900 + "\r\n\r\n"


def arrived(o, subject, text, n=0):
    name, got = o.find(subject, n)
    assert got.endswith(text), f"{subject}: what is stored ends {got[-len(text):]!r}, sent was {text!r}"
    head = got[:-len(text)]
    assert head.startswith(b"Return-Path: <") and b"\nReceived: from " in head, head
    assert (b" with ESMTP" in head) and head.endswith(b"\r\n"), head
    return name, head


def save(o, text):
    name = os.path.join(o.home, "message")
    o.put(name, text)
    return name


def swaks(o, service, subject, *args, ok=(0,), n=0, sender="sender@elsewhere.test"):
    text = office.message(subject, BODY, sender=sender)
    # swaks reads LF lines, sends CRLF, doubles the dots and ends the last line
    lf = save(o, text.replace(b"\r\n", b"\n")[:-1])
    r = o.tool("swaks", "--server", o.info["host"], "--port", o.port(service), "--ehlo", "client.test", "--from", sender,
               "--to", o.user(n), "--data", "@" + lf, "--timeout", "20", *args, ok=ok)
    return text, r.stdout.decode(errors="replace") + r.stderr.decode(errors="replace")


def swaks_25(o):
    text, _ = swaks(o, "smtp", "swaks 25 plain")
    _, head = arrived(o, "swaks 25 plain", text)
    assert b" with ESMTP " in head.replace(b"\r\n", b" "), head
    text, said = swaks(o, "smtp", "swaks 25 tls", "--tls", "--tls-verify", "--tls-ca-path", o.info["ca_file"])
    _, head = arrived(o, "swaks 25 tls", text)
    assert b" with ESMTPS " in head.replace(b"\r\n", b" "), head


def curl_25(o):
    text = office.message("curl 25", BODY)
    o.curl("smtp", "client.test", "--mail-from", "sender@elsewhere.test", "--mail-rcpt", o.user(0), "-T", save(o, text))
    arrived(o, "curl 25", text)


def swaks_login(o):
    for service, tls in (("submission", "--tls"), ("submissions", "--tls-on-connect")):
        for how in ("PLAIN", "LOGIN"):
            subject = f"swaks {service} {how}"
            text, _ = swaks(o, service, subject, tls, "--auth", how, "--auth-user", o.user(1), "--auth-password", o.password,
                            n=1, sender=o.user(1))
            _, head = arrived(o, subject, text, 1)
            assert b" with ESMTPSA" in head.replace(b"\r\n", b" "), head


def curl_login(o):
    for service in ("submission", "submissions"):
        text = office.message(f"curl {service}", BODY, sender=o.user(1))
        o.curl(service, "client.test", "--mail-from", o.user(1), "--mail-rcpt", o.user(0), "-T", save(o, text), n=1)
        arrived(o, f"curl {service}", text)


def scram_login(o):
    with o.smtp("submission") as s:
        assert "SCRAM-SHA-256" in s.esmtp_features["auth"].split(), s.esmtp_features
        c = office.Scram(o.user(1), o.password)
        code, said = s.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(c.first()).decode())
        assert code == 334, said
        code, said = s.docmd(base64.b64encode(c.final(base64.b64decode(said))).decode())
        assert code == 334, said
        c.check(base64.b64decode(said))
        code, said = s.docmd("")
        assert code == 235, said
        text = office.message("scram", BODY, sender=o.user(1))
        s.sendmail(o.user(1), [o.user(0)], text)
    arrived(o, "scram", text)


def no_login_in_clear(o):
    _, said = swaks(o, "submission", "never", "--auth", "PLAIN", "--auth-user", o.user(1), "--auth-password", o.password,
                    ok=(28,), n=1)
    assert "AUTH" not in "".join(x for x in said.splitlines() if "250" in x), said
    with smtplib.SMTP(o.info["host"], o.port("submission"), timeout=20) as s:
        s.ehlo("client.test")
        code, said = s.docmd("MAIL", f"FROM:<{o.user(1)}>")
        assert code in (530, 538), said


def wrong_password(o):
    for service, tls in (("submission", "--tls"), ("submissions", "--tls-on-connect")):
        began = time.monotonic()
        _, said = swaks(o, service, "never", tls, "--auth", "PLAIN", "--auth-user", o.user(1), "--auth-password", "wrong " + service,
                        ok=(28,), n=1)
        took = time.monotonic() - began
        assert "535 5.7.8" in said, said
        assert 1.5 < took < 6, f"a wrong password was refused after {took:.2f} s, not after about 2 s"
    began = time.monotonic()
    with o.smtp("submission") as s:
        c = office.Scram(o.user(1), "wrong scram")
        _, said = s.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(c.first()).decode())
        code, said = s.docmd(base64.b64encode(c.final(base64.b64decode(said))).decode())
    took = time.monotonic() - began
    assert code == 535, (code, said)
    assert 1.5 < took < 6, f"a wrong SCRAM proof was refused after {took:.2f} s, not after about 2 s"


def not_as_another(o):
    """Refused at MAIL, RCPT or, as authd decides it on the stamped account, after the text: but refused."""
    before = o.files(0)
    for envelope, header in ((2, 2), (2, 1), (1, 2)):
        with o.smtp("submission", 1) as s:
            try:
                s.sendmail(o.user(envelope), [o.user(0)], office.message("never", sender=o.user(header)))
                raise AssertionError("one account sent as another")
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as e:
                assert e.smtp_code == 550 and e.smtp_error.startswith(b"5.7.1"), e
    assert o.files(0) == before


def no_relay(o):
    _, said = swaks(o, "smtp", "never", "--to", "somebody@elsewhere.test", ok=(24,))
    assert "550 5.7.1" in said, said
    _, said = swaks(o, "smtp", "never", "--to", "nobody-here@example.test", ok=(24,))
    assert "550 5.1.1" in said, said


def forwards(o):
    """An alias that leads elsewhere is taken from anybody; the odd forms of S14 do not get through it."""
    domain = o.info["domain"]
    o.cli("alias", "add", f"sales@{domain}", "peter@elsewhere.test")
    with o.smtp() as s:
        s.mail("sender@elsewhere.test")
        for to, code in ((f"sales@{domain}", 250), (f"sales+x@{domain}", 250), ("peter@elsewhere.test", 550),
                         (f"peter%elsewhere.test@{domain}", 550), (f'"peter@elsewhere.test"@{domain}', 550),
                         (f"sales@{domain}@elsewhere.test", 501), (f"@{domain}:peter@elsewhere.test", 550)):
            assert s.docmd("RCPT", f"TO:<{to}>")[0] == code, to
    o.cli("alias", "remove", f"sales@{domain}", "peter@elsewhere.test", "--yes")
    with o.smtp() as s:
        s.mail("sender@elsewhere.test")
        assert s.rcpt(f"sales@{domain}")[0] == 550


def all_octets(o):
    """8BITMIME: every octet but NUL, CR and LF alone arrives as it was sent."""
    body = b"".join(bytes(x for x in range(b, b + 32) if x not in (0, 10, 13)) + b"\r\n" for b in range(0, 256, 32))
    text = office.message("all octets", "") + body
    with o.smtp() as s:
        assert "8bitmime" in s.esmtp_features
        code, said = s.docmd("MAIL", "FROM:<sender@elsewhere.test> BODY=8BITMIME")
        assert code == 250, said
        assert s.rcpt(o.user(0))[0] == 250
        assert s.data(text)[0] == 250
    arrived(o, "all octets", text)


def bdat(s, o, chunks, last=True):
    assert s.docmd("MAIL", "FROM:<sender@elsewhere.test> BODY=8BITMIME")[0] == 250
    assert s.rcpt(o.user(0))[0] == 250
    for i, c in enumerate(chunks):
        final = b" LAST" if last and i == len(chunks) - 1 else b""
        s.sock.sendall(b"BDAT %d%s\r\n" % (len(c), final) + c)
        code, said = s.getreply()
        assert code == 250, (i, code, said)


def bdat_chunks(o):
    """Chunks cut inside a CRLF and before a dot; an empty last one."""
    text = office.message("bdat", BODY)
    cuts = [0, 1, text.index(b"\r\n") + 1, text.index(b"\r\n.a dot") + 2, len(text) - 1, len(text)]
    with o.smtp() as s:
        bdat(s, o, [text[a:b] for a, b in zip(cuts, cuts[1:])] + [b""])
        second = office.message("bdat one", BODY)
        bdat(s, o, [second])
    arrived(o, "bdat", text)
    arrived(o, "bdat one", second)


def twenty_megabytes(o):
    text = office.message("20 MB", "", sender=o.user(1)) + office.lines(20 << 20)
    began = time.monotonic()
    o.curl("submissions", "client.test", "--mail-from", o.user(1), "--mail-rcpt", o.user(0), "-T", save(o, text), n=1)
    assert time.monotonic() - began < 20
    name, got = o.find("20 MB", 0)
    assert got.endswith(text), "20 MB by curl over 465 came out different"
    os.unlink(name)
    text = text.replace(b"20 MB", b"bdat 20 MB")
    with o.smtp() as s:
        bdat(s, o, [text[i:i + (1 << 20)] for i in range(0, len(text), 1 << 20)])
    name, got = o.find("bdat 20 MB", 0)
    assert got.endswith(text), "20 MB by BDAT came out different"
    os.unlink(name)


def too_big(o):
    with o.smtp() as s:
        assert int(s.esmtp_features["size"]) == 50 << 20
        code, said = s.docmd("MAIL", f"FROM:<sender@elsewhere.test> SIZE={(50 << 20) + 1}")
        assert code == 552 and said.startswith(b"5.3.4"), (code, said)


def stored_once(o):
    text = office.message("to ten", BODY)
    with o.smtp() as s:
        refused = s.sendmail("sender@elsewhere.test", [o.user(i) for i in range(10)], text)
        assert not refused
    names = [o.find("to ten", i)[0] for i in range(10)]
    links = office.wait_for(lambda: {(os.stat(x).st_ino, os.stat(x).st_nlink) for x in names if os.stat(x).st_nlink == 10})
    assert len(links) == 1, [os.stat(x) for x in names]
    modes = {os.stat(x).st_mode & 0o7777 for x in names}
    assert modes == {0o400}, modes
    assert not os.listdir(os.path.join(o.office, "spool")), "the spool is not empty"


if __name__ == "__main__":
    office.needs("swaks", "curl")
    sys.exit(office.main([swaks_25, curl_25, swaks_login, curl_login, scram_login, no_login_in_clear, wrong_password,
                          not_as_another, no_relay, forwards, all_octets, bdat_chunks, twenty_megabytes, too_big, stored_once], users=10))
