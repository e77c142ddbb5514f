#!/usr/bin/env python3
"""S18: who sends slowly. Deadlines are of whole commands, logins and handshakes, however many octets trickle in meanwhile.

The settings are short here (3 s for a command and a login, 10 s for a session); what has no setting is as it is: 10 s for a
TLS handshake. --long adds a text of one octet a second, which 500 octets a second end after a window of 30 s.
"""
import ssl
import sys
import threading
import time

import office
import raw

LONG = "--long" in sys.argv and not sys.argv.remove("--long")
TIMEOUT, SESSION, HANDSHAKE, WINDOW = 3, 10, 10, 30
EARLY, LATE = 0.15, 1.5  # a busy machine is late, never early by more than a timer's grain


def closed_after(c, octets, every, most=45):
    """Sends octets one by one (over and over) until the server closes; (seconds since the first, what it said)."""
    began, said, i = time.monotonic(), b"", 0
    c.s.settimeout(every)
    while time.monotonic() < began + most:
        try:
            if octets:
                c.s.sendall(octets[i % len(octets):i % len(octets) + 1])
                i += 1
            got = c.s.recv(65536)
            if not got:
                return time.monotonic() - began, said.decode(errors="replace")
            said += got
        except TimeoutError:
            pass
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return time.monotonic() - began, said.decode(errors="replace")
        else:
            time.sleep(0 if said else every)
    raise AssertionError(f"still open after {most} s; it said {said}")


def within(seconds, took, what):
    assert seconds - EARLY <= took <= seconds + LATE, f"{what}: closed after {took:.2f} s, not {seconds} s"
    sys.stdout.write(f"     {what}: closed after {took:.2f} s\n")


def smtp_command(o):
    took, said = closed_after(raw.smtp(o), b"NOOP is slow ", 0.3)
    assert said.startswith("421 4.4.2"), said
    within(TIMEOUT, took, "an SMTP command of 3 octets a second")


def smtp_silent(o):
    took, said = closed_after(raw.smtp(o), b"", 0.3)
    assert said.startswith("421 4.4.2"), said
    within(TIMEOUT, took, "an SMTP client that says nothing")


def smtp_session(o):
    """A command in time, again and again: the session has an end all the same."""
    c, began = raw.smtp(o), time.monotonic()
    while True:
        time.sleep(1)
        c.say("RSET")
        line = c.line()
        if not line or not line.startswith("250"):
            break
    assert line.startswith("421 4.4.2"), line
    within(SESSION, time.monotonic() - began, "an SMTP session of commands in time")


def submission_without_login(o):
    """Time goes on from the greeting, whatever is said."""
    c = raw.Raw(o, "submission")
    c.until("220 .*")
    began = time.monotonic()
    while True:
        c.say("EHLO client.test")
        lines = []
        while (line := c.line()) and line.startswith("250-"):
            lines.append(line)
        if not line or not line.startswith("250"):
            break
        time.sleep(0.5)
    assert line.startswith("421 4.4.2"), line
    within(TIMEOUT, time.monotonic() - began, "a submission client that does not log in")


def login(service, octets):
    def run(o):
        c = raw.Raw(o, service)
        c.line()
        took, said = closed_after(c, octets, 0.25)
        if service.startswith("imap"):
            assert "\r\n* BYE nobody logged in in time" in "\r\n" + said, said[-200:]
        within(TIMEOUT, took, f"{service} without login, {octets[:12]}")
    return run


def tls_hello():
    out = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), out, server_hostname="mail.example.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def hello(service, starttls=(), every=0):
    """The first half of a TLS hello, at once or octet by octet. Behind STARTTLS the command's or login's time goes on."""
    def run(o):
        octets = tls_hello()
        half = octets[:len(octets) // 2]
        c, began = raw.Raw(o, service), time.monotonic()
        for line, answer in starttls:
            if line:
                c.say(line)
            c.until(answer)
        if not every:
            c.send(half)
        closed_after(c, half if every else b"", every or 0.2, 20)
        within(TIMEOUT if starttls else HANDSHAKE, time.monotonic() - began, f"half a TLS hello on {service}{', slowly' if every else ''}")
    return run


def text(o):
    """One octet a second of a text."""
    c = raw.smtp(o)
    c.ask("MAIL FROM:<a@elsewhere.test>", "250 .*")
    c.ask(f"RCPT TO:<{o.user(0)}>", "250 .*")
    c.ask("DATA", "354 .*")
    took, said = closed_after(c, b"x", 1, 75)
    assert said.startswith("421 4.4.2"), said
    assert took <= 2 * WINDOW + LATE, took
    print(f"     a text of 1 octet a second: closed after {took:.1f} s", flush=True)
    assert not o.files(0)


def at_once(runs):
    """As one step: each in a thread of its own."""
    def all_of_them(o):
        failed = []

        def guarded(f):
            try:
                f(o)
            except Exception as e:
                failed.append(f"{f}: {e!r}")
        threads = [threading.Thread(target=guarded, args=(f,)) for f in runs]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed, "\n".join(failed)
        began = time.monotonic()
        o.deliver(office.message("afterwards"), 1)
        assert time.monotonic() - began < 1
    return all_of_them


if __name__ == "__main__":
    greeted = [("", r"(220 .*|\* OK .*|\+OK.*)")]
    runs = [smtp_command, smtp_silent, smtp_session, submission_without_login,
            login("imap_plain", b"a LOGIN so slow"), login("imap_plain", b"a NOOP\r\n"), login("imap_plain", b"a LOGIN {99}\r\n"), login("imap_plain", b""),
            login("pop3_plain", b"USER so slow"), login("pop3_plain", b"CAPA\r\n"), login("pop3_plain", b""),
            hello("submissions"), hello("imaps", every=1), hello("imaps"), hello("pop3s"),
            hello("smtp", greeted + [("EHLO client.test", "250 .*"), ("STARTTLS", "220 .*")]),
            hello("imap", greeted + [("a STARTTLS", "a OK .*")]), hello("pop3", greeted + [("STLS", r"\+OK.*")])]
    sys.exit(office.main([at_once(runs + [text] * LONG)], users=2,
                         extra=f'limits = {{ smtp_timeout = "{TIMEOUT}s"; smtp_session = "{SESSION}s"; login = "{TIMEOUT}s"; }};'))
