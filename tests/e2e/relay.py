#!/usr/bin/env python3
"""Mail to the world and back: submitted to Postfix, Exim, OpenSMTPD and a sink, signed, handed on, answered."""
import smtplib
import subprocess
import sys

import dkim_verify  # first: it may start this program again with Debian's python
import office
import peers
import wayout

SINK, BEYOND = "127.0.0.2", "127.0.0.3"
ADDRESSES = {"postfix": "127.0.0.11", "exim": "127.0.0.12", "opensmtpd": "127.0.0.13"}
BODY = "Grüße, 8 bits\r\n.a dot\r\n..\r\n  blanks \t \r\n" + "x" * 900 + "\r\n\r\n\r\n"


def zones(w):
    out = {f"{kind}.test": w.mx(a) for kind, a in ADDRESSES.items()}
    return {**out, "sink.test": w.mx(SINK), "beyond.test": w.mx(ADDRESSES["postfix"])}


def verified(o, *texts):
    """By python3-dkim and, where it is, rspamd, with the records that postamt domain dns shows."""
    records = wayout.keys(o, "example.test")
    assert records, "postamt domain dns shows no DKIM record"
    asked = []
    for text in texts:
        n = text.lower().count(b"\r\ndkim-signature:") + text.lower().startswith(b"dkim-signature:")
        assert n == len(records), f"{n} signatures, {len(records)} keys: {text[:600]}"
        dkim_verify.by_python(text, n, records, "example.test")
        asked.append((text, n, records))
    if dkim_verify.shutil.which("rspamd"):
        dkim_verify.by_rspamd(asked)
    assert not dkim_verify.failures, dkim_verify.failures


def told(o, ident, rcpt, account="u0@example.test"):
    """The whole way under one id."""
    sent = o.event(ident, "sent", rcpt=rcpt)
    o.event(ident, "queue-done")
    received = o.event(ident, "received")  # said when all have it, here too: perhaps after it was sent
    story = o.story(ident)
    assert story.index("queued") < story.index("sent") < story.index("queue-done"), story
    assert received["account"] == account, received
    return sent


def to_the_sink(o):
    """Each way to log in on 587 and 465; what arrives is what was sent, with our header in front."""
    texts = []
    for service in ("submission", "submissions"):
        subject = f"sink by {service}"
        text = office.message(subject, BODY, "u0@example.test", "x@sink.test")
        ident = o.submit("x@sink.test", subject, text=text, service=service, options=["BODY=8BITMIME"])
        m = o.sink.find(subject)
        assert m.text.endswith(text), m.text[-300:]
        assert m.mail == "u0@example.test" and m.to == ["x@sink.test"] and m.helo == "mail.example.test", m
        assert m.mail_params.get("BODY") == "8BITMIME", m.mail_params
        head = m.text[:-len(text)]
        assert head.startswith(b"DKIM-Signature:") or b"\r\nDKIM-Signature:" in head, head
        assert b"Received: from" in head and ident.encode() in head and b"Return-Path" not in head, head
        assert all(len(line) <= 998 for line in m.text.split(b"\r\n"))
        sent = told(o, ident, "x@sink.test")
        assert sent["host"] == f"mx1.sink.test [{SINK}]" and sent["tls"] == "" and sent["reply"].startswith("250 2.0.0 Taken"), sent
        texts.append(m.text)
    verified(o, *texts)


def large(o):
    body = office.lines(5 << 20).decode()
    ident = o.submit("x@sink.test", "large", body=body)
    m = o.sink.find("large")
    assert m.text.endswith(body.encode()), "5 MB came out different"
    told(o, ident, "x@sink.test")


def many_over_one_connection(o):
    with o.smtp("submissions", 0) as s:
        for i in range(30):
            o.hand(s, "x@sink.test", f"many {i}", o.user(0))
    o.sink.wait(30, where=lambda m: m.subject.startswith("many "))
    used = {m.connection for m in o.sink.messages() if m.subject.startswith("many ")}
    assert len(used) < 20, f"30 messages took {len(used)} connections"


def real_ones(o):
    """There over TLS (but OpenSMTPD: see peers.py), signed; Postfix relays on and it still is; the answer comes into the INBOX."""
    leaf = o.ca.leaf("mx1.postfix.test", "mx1.exim.test")
    back = {"example.test": (o.info["host"], o.port("smtp")), "beyond.test": (BEYOND, o.sink.port)}
    texts = []
    for kind, address in ADDRESSES.items():
        with_tls = kind != "opensmtpd"
        with peers.start(kind, address, o.sink.port, [f"{kind}.test"], back, leaf if with_tls else None, require_tls=with_tls) as p:
            to, subject = f"reader@{kind}.test", f"to {kind}"
            ident = o.submit(to, subject, body=BODY, options=["BODY=8BITMIME"])
            text = p.find(subject)
            sent = told(o, ident, to)
            assert sent["host"] == f"mx1.{kind}.test [{address}]", sent
            assert ("verified=" in sent["tls"]) == with_tls, sent
            texts.append(text[text.index(b"DKIM-Signature:"):])
            p.answer(text, to, "u0@example.test", f"Re: {subject}")
            _, answer = o.find(f"Re: {subject}", seconds=20)
            assert f"Return-Path: <{to}>".encode() in answer, answer[:300]
            if kind == "postfix":
                o.submit("x@beyond.test", "beyond", body=BODY, options=["BODY=8BITMIME"])
                m = o.sink.find("beyond")
                assert b"by postfix.test (Postfix)" in m.text and m.address == BEYOND, m.text[:500]
                texts.append(m.text)
    verified(o, *texts)


def by_programs(o):
    """curl and swaks submit as people's scripts do."""
    url = f"smtps://{o.info['tls_name']}:{o.port('submissions')}"
    text = office.message("by curl", sender="u0@example.test", to="x@sink.test")
    r = subprocess.run(["curl", "-sS", url, "--connect-to", f"{o.info['tls_name']}::{o.info['host']}:", "--cacert", o.info["ca_file"],
                        "-u", f"u0@example.test:{o.password}", "--mail-from", "u0@example.test", "--mail-rcpt", "x@sink.test", "-T", "-"],
                       input=text, capture_output=True, timeout=30)
    assert r.returncode == 0, r.stderr
    r = subprocess.run(["swaks", "--server", o.info["host"], "--port", str(o.port("submission")), "--tls", "--auth", "PLAIN",
                        "--auth-user", "u0@example.test", "--auth-password", o.password, "--from", "u0@example.test",
                        "--to", "x@sink.test", "--header", "Subject: by swaks"], capture_output=True, timeout=30)
    assert r.returncode == 0, r.stdout[-1500:]
    verified(o, *(o.sink.find(x).text for x in ("by curl", "by swaks")))


RELAY = ["x@sink.test", "X@SINK.TEST", "postmaster@sink.test", "x@sink.test.", "x%sink.test@example.test", '"x@sink.test"@example.test',
         "sink.test!x@example.test", "x@sink.test@example.test", "x@[127.0.0.2]", "x@[IPv6:::1]", "@example.test:x@sink.test",
         "@a.test,@example.test:x@sink.test", "@sink.test:u0@nowhere.test", "x", "x@", '"x%sink.test"@example.test', "x@sink.test%example.test",
         "x%sink.test@mail.example.test", "x@mail.example.test", '"x"@sink.test', "x@xn--sink-.test", "x@127.0.0.2"]


def nobody_else_relays(o):
    """security.md S14: no recipient elsewhere from a client that is not logged in, however it is written."""
    o.queue_empty()  # records of what was sent go a moment later
    before = o.sink.tries()
    for sender in ("a@sender.test", "u0@example.test", ""):
        for part in (RELAY[i:i + 8] for i in range(0, len(RELAY), 8)):  # who is refused often is made to wait
            with o.smtp() as s:
                assert s.docmd("MAIL", f"FROM:<{sender}>")[0] == 250
                for to in part:
                    code, said = s.docmd("RCPT", f"TO:<{to}>")
                    assert 500 <= code < 560, f"<{sender}> to <{to}>: {code} {said}"
    for service in ("submission", "submissions"):
        with o.smtp(service) as s:
            code, said = s.docmd("MAIL", "FROM:<u0@example.test>")
            assert code == 530, (service, code, said)
    assert o.sink.tries() == before and not o.queue()


def only_as_oneself(o):
    """Neither the envelope nor From: may be another's."""
    o.submit("x@sink.test", "mine")
    for sender, header in (("u1@example.test", "u0@example.test"), ("a@sender.test", "u0@example.test"), ("u0@example.test", "u1@example.test"),
                           ("u0@example.test", "boss@elsewhere.test")):
        text = office.message("not mine", sender=header, to="x@sink.test")
        with o.smtp("submissions", 0) as s:
            try:
                s.sendmail(sender, ["x@sink.test"], text)
                raise AssertionError(f"sent as {sender}, From: {header}")
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused) as e:
                assert "5" == str(getattr(e, "smtp_code", 550))[0], e
    assert not any(m.subject == "not mine" for m in o.sink.messages())


def here_and_elsewhere(o):
    """One message for a mailbox here and one elsewhere: both get it, each once."""
    ident = o.submit(["u1@example.test", "x@sink.test", "u0@example.test"], "both")
    o.find("both", 0)
    o.find("both", 1)
    m = o.sink.find("both")
    assert m.to == ["x@sink.test"]
    told(o, ident, "x@sink.test")


def utf8_addresses(o):
    ident = o.submit("grüße@sink.test", "international", options=["SMTPUTF8", "BODY=8BITMIME"])
    m = o.sink.find("international")
    assert m.to == ["grüße@sink.test"] and "SMTPUTF8" in m.mail_params, m
    told(o, ident, "grüße@sink.test")


STEPS = [to_the_sink, by_programs, large, many_over_one_connection, here_and_elsewhere, utf8_addresses, nobody_else_relays, only_as_oneself]

if __name__ == "__main__":
    reason = peers.missing()
    if reason:
        print("left out: real_ones:", reason)
    sys.exit(wayout.main(STEPS if reason else STEPS + [real_ones], zones=zones, addresses=[SINK, BEYOND], users=2))
