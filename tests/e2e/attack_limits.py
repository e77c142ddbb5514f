#!/usr/bin/env python3
"""Every limit of the design (security.md 4.4), what it is and where it is tried: TABLE. What is not tried elsewhere is tried
here, at the limit and one above it; so are S03's end of TLS within a chunk and S17's early talkers.

The instance counts loopback addresses as any other: each step comes from addresses of its own.
"""
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time

import office
import raw

HERE = os.path.dirname(os.path.abspath(__file__))
MESSAGE, HEADER, CONNECTIONS = 50 << 20, 10 << 20, 50
LINE, AUTH_LINE = 2048, 12288
SOFT, HARD, JUNK, CROWDED_SECONDS, ROOM = 10, 20, 20, 10, 80

# limit, where it is tried: a step of this file, or a file of the tests and a word that stands in it. (The queue's life and what an
# account may send in an hour come with the queue.)
TABLE = [
    ("SMTP command line 2,048, AUTH 12,288", "smtp_lines"),
    ("SMTP body line: unlimited, 64 K buffer", ("transcripts/S24_long_line.txt", "S24")),
    ("message 50 MB", "message_size"),
    ("header field 1 MiB, all 10 MiB, 10,000 fields", "headers"),
    ("MIME depth 100, 10,000 parts", ("unit/test_mime.c", "10000")),
    ("128 parameters of a field", ("unit/test_header.c", "parameters_have_an_end")),
    ("100 recipients of a stranger", ("transcripts/S16_recipients.txt", "452")),
    ("1,000 recipients of a user, the end after 1,000 more", ("e2e/attack_flood.py", "recipients_of_a_user")),
    ("SMTP errors: slow from 10, over at 20", "smtp_errors"),
    ("SMTP commands that move no mail: 20", "smtp_junk"),
    ("SMTP command 300 s, session 30 min", ("e2e/attack_slow.py", "smtp_session")),
    ("SMTP command 10 s when more than 80 % full", "crowded"),
    ("SMTP text 500 octets a second", ("e2e/attack_slow.py", "1 octet a second")),
    ("50 Received", ("transcripts/S20_fifty_received.txt", "5\\.4\\.6")),
    ("IMAP line 8 K, literal 1 K before login", "imap_before_login"),
    ("IMAP line 64 K, literals 128 K each, 1 MiB and 1,000 a command after login", "imap_after_login"),
    ("APPEND: the message's size, before the literal is asked for", ("e2e/append_big.py", "too_big")),
    ("parentheses 1 before, 32 after login", ("transcripts/I02_parentheses.txt", "BAD")),
    ("POP3 line 255", "pop3_line"),
    ("login within 60 s", ("e2e/attack_slow.py", "nobody logged in in time")),
    ("IMAP idle 30 min", ("unit/test_imap_session.c", "test_autologout")),
    ("POP3 idle 10 min", ("unit/test_pop3_session.c", "test_idle")),
    ("bad commands 3 before, 20 after login", "bad_commands"),
    ("connections of an address: SMTP 20, others 50", "connections_of_an_address"),
    ("sessions of a user from an address 50", "sessions_of_a_user"),
    ("new connections without login 60 a minute", "new_connections"),
    ("a TLS handshake 10 s", ("e2e/attack_slow.py", "HANDSHAKE")),
    ("three wrong passwords a connection, 2 s each", ("e2e/attack_login.py", "after three wrong passwords")),
    ("10 wrong passwords of an address a minute", "wrong_passwords"),
    ("wrong passwords: 50 a day, networks, users", ("unit/test_throttle.c", "test_ten_thousand")),
    ("memory and open files of a process", "memory_and_files"),
    ("output 256 KiB, 60 s without progress", ("e2e/attack_flood.py", "answers_unread")),
    ("a session of POP3 holds nothing", ("e2e/attack_local.py", "held_mailbox")),
]


def table(o):
    """Each row names something that is there."""
    for what, where in TABLE:
        if isinstance(where, str):
            assert where in globals(), f"{what}: no step {where}"
        else:
            with open(os.path.join(HERE, "..", where[0]), errors="replace") as f:
                assert where[1] in f.read(), f"{what}: {where[0]} says nothing of {where[1]}"


# --- lines, errors ---

def smtp_lines(o):
    c = raw.smtp(o, source="127.0.1.1")
    assert c.ask("NOOP " + "x" * (LINE - 7), r"\d+ .*").startswith("250")
    assert c.ask("NOOP " + "x" * (LINE - 6), r"\d+ .*").startswith("500 5.5.2")
    c.close()
    c = raw.Raw(o, "submissions", source="127.0.1.1", tls=True)
    c.until("220 .*")
    c.ask("EHLO client.test", "250 .*")
    assert not c.ask("AUTH PLAIN " + "A" * (AUTH_LINE - 13), r"\d+ .*").startswith("500")
    assert c.ask("AUTH PLAIN " + "A" * (AUTH_LINE - 12), r"\d+ .*").startswith("500 5.5.2")
    assert c.ask("EHLO " + "x" * (LINE - 6), r"\d+ .*").startswith("500 5.5.2")
    c.close()


def imap_before_login(o):
    for line, answer in ((8192, r"a NO .*"), (8193, r"\* BYE .*")):  # with its CR
        c = raw.Raw(o, "imap_plain", source="127.0.15.1")
        c.line()
        head = "a AUTHENTICATE NOTHING "
        c.ask(head + "A" * (line - 1 - len(head)), answer)
        c.close()
    for size, answer in ((1024, r"\+ .*"), (1025, r"\* BYE .*")):
        c = raw.Raw(o, "imap_plain", source="127.0.15.1")
        c.line()
        c.ask("a LOGIN {%d}" % size, answer)
        c.close()
    o.expect_log(r" attack ")


def imap_after_login(o):
    c = raw.imap(o, 0, source="127.0.15.2")
    c.ask("s SELECT INBOX", "s OK .*")
    head = 'a SEARCH SUBJECT "'
    for line, answer in ((65536, "a OK .*"), (65537, "a BAD .*")):
        assert re.fullmatch(answer, c.ask(head + "x" * (line - 2 - len(head)) + '"', "a .*"))
    big = "{131072+}\r\n" + "x" * 131072
    for command, answer in (
            ("SEARCH SUBJECT " + big, "a OK .*"),
            ("SEARCH SUBJECT {131073+}\r\n" + "x" * 131073, r"a NO \[TOOBIG\].*"),
            ("SEARCH" + (" SUBJECT " + big) * 8, "a OK .*"),
            ("SEARCH" + (" SUBJECT " + big) * 8 + " SUBJECT {1+}\r\nx", r"a NO \[TOOBIG\].*"),
            ("SEARCH" + " SUBJECT {1+}\r\nx" * 1000, "a OK .*"),
            ("SEARCH" + " SUBJECT {1+}\r\nx" * 1001, r"a NO \[TOOBIG\].*")):
        got = c.ask("a " + command, "a .*")
        assert re.fullmatch(answer, got), (command[:60], got)
    c.ask("n NOOP", "n OK .*")
    c.close()


def pop3_line(o):
    c = raw.Raw(o, "pop3_plain", source="127.0.15.3")
    c.line()
    assert "too long" not in c.ask("USER " + "u" * (255 - 7), r"[-+].*")
    assert "too long" in c.ask("USER " + "u" * (256 - 7), r"-ERR.*")
    c.ask(f"USER {o.user(0)}", r"\+OK.*")
    c.ask(f"PASS {o.password}", r"\+OK.*")
    assert "longer than" not in c.ask("UIDL " + "1" * (255 - 7), r"-ERR.*")
    assert "longer than 255" in c.ask("UIDL " + "1" * (256 - 7), r"-ERR.*")
    c.close()


def smtp_errors(o):
    """Nine for nothing, then one a second, and at twenty the end."""
    c, began = raw.smtp(o, source="127.0.2.1"), time.monotonic()
    c.send(b"FOO\r\n" * (SOFT - 1))
    for _ in range(SOFT - 1):
        c.until("500 5.5.1 .*")
    assert time.monotonic() - began < 1
    c.send(b"FOO\r\n" * (HARD - SOFT + 1))
    lines = c.rest()
    assert [x[:9] for x in lines] == ["500 5.5.1"] * (HARD - SOFT + 1) + ["421 4.7.0"], lines
    assert HARD - SOFT - 0.5 < time.monotonic() - began < HARD - SOFT + 5, time.monotonic() - began


def smtp_junk(o):
    c = raw.smtp(o, source="127.0.3.1")
    c.send(b"NOOP\r\n" * (JUNK + 5))
    lines = [x[:3] for x in c.rest()]
    assert lines.count("421") == 1 and lines[-1] == "421" and JUNK - 2 <= lines.count("250") <= JUNK, lines


def bad_commands(o):
    """IMAP and POP3: 3 before the login, 20 after it."""
    for service, login, before, after in (
            ("imap_plain", lambda c: c.ask(f"l LOGIN {o.user(0)} {o.password}", "l OK .*"), "x BAD .*", "x BAD .*"),
            ("pop3_plain", lambda c: (c.ask(f"USER {o.user(0)}", r"\+OK.*"), c.ask(f"PASS {o.password}", r"\+OK.*")), "-ERR.*", "-ERR.*")):
        c = raw.Raw(o, service, source="127.0.4.1")
        c.line()
        c.send(b"x FOO\r\n" * 10)
        said = c.rest()
        assert len([x for x in said if re.fullmatch(before, x)]) in (3, 4) and len(said) <= 4, said
        c = raw.Raw(o, service, source="127.0.4.1")
        c.line()
        login(c)
        c.send(b"x FOO\r\n" * 40)
        said = c.rest()
        assert len([x for x in said if re.fullmatch(after, x)]) in (20, 21) and len(said) <= 21, said


# --- sizes ---

def begin(o, source):
    c = raw.smtp(o, source=source, timeout=60)
    c.ask("MAIL FROM:<a@elsewhere.test>", "250 .*")
    c.ask(f"RCPT TO:<{o.user(1)}>", "250 .*")
    return c


def text_of(size, head=b"Subject: large\r\n\r\n"):
    """Exactly so many octets."""
    line = b"x" * 998 + b"\r\n"
    body = line * ((size - len(head)) // len(line))
    rest = size - len(head) - len(body)
    return head + body + (b"y" * (rest - 2) + b"\r\n" if rest >= 2 else b"")


def message_size(o):
    exact, more = text_of(MESSAGE), text_of(MESSAGE + 100)
    assert len(exact) == MESSAGE
    c = begin(o, "127.0.5.1")
    c.ask("DATA", "354 .*")
    c.send(more + b".\r\n")
    assert c.until(r"\d+ .*").startswith("552 5.3.4")
    c.ask("MAIL FROM:<a@elsewhere.test>", "250 .*")
    c.ask(f"RCPT TO:<{o.user(1)}>", "250 .*")
    c.ask("DATA", "354 .*")
    c.send(exact + b".\r\n")
    assert c.until(r"\d+ .*").startswith("250 2.0.0")
    c.ask("MAIL FROM:<a@elsewhere.test>", "250 .*")
    c.ask(f"RCPT TO:<{o.user(1)}>", "250 .*")
    c.say(f"BDAT {len(more)} LAST")
    c.send(more)
    assert c.until(r"\d+ .*").startswith("552 5.3.4")
    c.ask("NOOP", "250 .*")
    assert len(o.files(1)) == 1 and os.stat(o.files(1)[0]).st_size >= MESSAGE
    os.unlink(o.files(1)[0])
    # who does not stop at all is cut off at twice the size
    c.ask("MAIL FROM:<a@elsewhere.test>", "250 .*")
    c.ask(f"RCPT TO:<{o.user(1)}>", "250 .*")
    c.ask("DATA", "354 .*")
    sent, piece = 0, b"z" * 65534 + b"\r\n"
    try:
        while sent < 4 * MESSAGE:
            c.send(piece)
            sent += len(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert 2 * MESSAGE <= sent < 3 * MESSAGE, sent
    print(f"     a text without end is cut off after {sent >> 20} MiB")


def headers(o):
    """10 MiB of header and no more; what is in it is served within a second."""
    field = b"X-Filler: " + b"f" * 980 + b"\r\n"
    big = field * (HEADER // len(field) + 1) + b"\r\ntext\r\n"
    fitting = [b"Subject: many\r\n" + b"X-A: b\r\n" * 10100 + b"To: a@b.test\r\n\r\ntext\r\n",
               b"Subject: long\r\nX-Long: " + (b"l" * 900 + b"\r\n ") * 1300 + b"end\r\nTo: a@b.test\r\n\r\ntext\r\n",
               b"Subject: to\r\nTo: " + b",\r\n ".join(b"u%d@b.test" % i for i in range(100000)) + b"\r\n\r\ntext\r\n",
               b"Subject: lines\r\n" + b"".join(b"To: u%d@b.test\r\n" % i for i in range(200000)) + b"\r\ntext\r\n",
               field * (HEADER // len(field) - 1) + b"Subject: nearly\r\n\r\ntext\r\n"]
    for text, answer in [(big, "552 5.3.4")] + [(x, "250 2.0.0") for x in fitting]:
        c = begin(o, "127.0.6.1")
        c.ask("DATA", "354 .*")
        c.send(text + b".\r\n")
        got = c.until(r"\d+ .*")
        assert got.startswith(answer), (text[:20], got)
        c.close()
    with raw.Neighbour(o, 0) as neighbour:
        m = raw.imap(o, 1, source="127.0.6.2", timeout=20)
        m.ask("s SELECT INBOX", "s OK .*")
        longest = 0
        for i in range(len(fitting)):
            for item in ("ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
                began = time.monotonic()
                m.ask(f"f FETCH {i + 1} {item}", "f OK .*")
                longest = max(longest, time.monotonic() - began)
        time.sleep(0.3)
        print(f"     the longest FETCH of {len(fitting)} such headers took {longest * 1000:.0f} ms; a neighbour's p99 {neighbour.p99_ms():.1f} ms")
    assert longest < 1, longest
    m.send(b"d STORE 1:* +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
    m.until("e OK .*")
    m.close()


# --- connections ---

def is_in(c, greeting):
    """Greeted, and still there a moment later."""
    c.until(greeting)
    c.s.settimeout(0.3)
    try:
        line = c.line()
    except TimeoutError:
        return True
    finally:
        c.s.settimeout(raw.TIMEOUT)
    assert line is None or re.match(r"421 4\.7\.0|\* BYE \[LIMIT\]|-ERR \[SYS/TEMP\]", line), line
    return False


GREETINGS = (("smtp", "220 .*", 20), ("imap_plain", r"\* OK .*", CONNECTIONS), ("pop3_plain", r"\+OK.*", CONNECTIONS))


def connections_of_an_address(o):
    for service, greeting, most in GREETINGS:
        conns = [raw.Raw(o, service, source="127.0.7.1") for _ in range(most)]
        assert is_in(conns[0], greeting) and is_in(conns[-1], greeting)
        assert not is_in(raw.Raw(o, service, source="127.0.7.1"), greeting), f"{service}: one more than {most}"
        assert is_in(raw.Raw(o, service, source="127.0.7.2"), greeting), "another address"
        conns.pop(0).close()
        assert office.wait_for(lambda: is_in(raw.Raw(o, service, source="127.0.7.1"), greeting), 2), f"{service}: one left"
        for c in conns:
            c.close()


def sessions_of_a_user(o):
    """Fifty, which are none of the fifty that an address may have without login."""
    conns = [raw.imap(o, 0, source="127.0.8.1") for _ in range(CONNECTIONS)]
    c = raw.Raw(o, "imap_plain", source="127.0.8.1")
    c.line()
    c.say(f"a LOGIN {o.user(0)} {o.password}")
    said = c.rest()
    assert said[0].startswith("a NO [LIMIT]"), said
    for n, source in ((1, "127.0.8.1"), (0, "127.0.8.2")):
        conns.append(raw.imap(o, n, source=source))
    conns.pop(0).close()
    time.sleep(0.2)
    conns.append(raw.imap(o, 0, source="127.0.8.1"))
    for c in conns:
        c.close()


def new_connections(o):
    """At least the 61st of a minute is sent away; when a minute begins meanwhile, the 61st of that one."""
    first = None
    for i in range(1, 125):
        c = raw.Raw(o, "imap_plain", source="127.0.9.1")
        c.line()
        c.say("a LOGOUT")
        if not any(x.startswith("a OK") for x in c.rest()):
            first = i
            break
        c.close()
    assert first and first > 60, first
    for _ in range(70):  # who logs in is not counted
        c = raw.imap(o, 0, source="127.0.9.2")
        c.ask("x LOGOUT", "x OK .*")
        c.close()


def wrong_passwords(o):
    """Ten of an address; then nobody from there, with the right one neither, but who has been here before."""
    source, times = "127.0.10.1", []
    raw.imap(o, 1, source=source).close()

    def guess(i):
        c = raw.Raw(o, "imap_plain", source=source)
        c.line()
        began = time.monotonic()
        said = c.ask(f"a LOGIN {o.user(0)} guess{i}", "a .*")
        times.append((time.monotonic() - began, said))
        c.close()
    threads = [threading.Thread(target=guess, args=(i,)) for i in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(took >= 1.95 and said.startswith("a NO [AUTHENTICATIONFAILED]") for took, said in times), times
    c = raw.Raw(o, "imap_plain", source=source)
    c.line()
    assert c.ask(f"a LOGIN {o.user(0)} {o.password}", "a .*").startswith("a NO [LIMIT]")
    c.close()
    raw.imap(o, 1, source=source).close()
    raw.imap(o, 0, source="127.0.11.1").close()


def crowded(o):
    """more than 80 % of the connections are taken: from then on a command has 10 s, not 300."""
    held = [raw.smtp(o, source=f"127.0.12.{1 + i // 15}") for i in range(ROOM * 8 // 10)]
    late, began = raw.smtp(o, source="127.0.12.9"), time.monotonic()
    said = late.rest()
    took = time.monotonic() - began
    assert said and said[0].startswith("421 4.4.2") and CROWDED_SECONDS - 0.5 < took < CROWDED_SECONDS + 2, (said, took)
    held[0].ask("RSET", "250 .*")
    for c in held:
        c.close()


def memory_and_files(o):
    m = raw.imap(o, 0, source="127.0.13.1")
    settings = {"connections": ROOM}
    front = 32 * 1024 + 32 * settings["connections"]
    sanitized = os.environ.get("POSTAMT_SANITIZED")
    for role in ("smtpd.front", "imapd.front", "pop3d.front", "imapd.worker"):
        for pid in raw.pids_of(o, role):
            with open(f"/proc/{pid}/limits") as f:
                lines = f.read()
            data = re.search(r"Max data size +(\S+)", lines)[1]
            files = re.search(r"Max open files +(\S+)", lines)[1]
            if not sanitized:
                assert int(data) == (256 << 20 if role.endswith("worker") else front << 10), (role, data)
            if role.endswith("front"):
                assert int(files) == 2 * settings["connections"] + 64, (role, files)
            assert re.search(r"Max core file size +0 +0", lines)
    m.close()


# --- S03, S17 ---

def tls_by_hand(o, service):
    """A TLS client whose records and plain octets we send as we like."""
    sock = socket.create_connection((o.info["host"], o.port(service)), 10)
    came, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = o.tls().wrap_bio(came, out)

    def pump(step):
        while True:
            try:
                got = step()
                sock.sendall(out.read())
                return got
            except ssl.SSLWantReadError:
                sock.sendall(out.read())
                came.write(sock.recv(65536))
    pump(tls.do_handshake)
    return sock, tls, out, pump


def end_of_tls_in_a_chunk(o):
    """S03: close_notify within a BDAT chunk, then plain octets: nothing of it is kept, nothing more is read."""
    box = len(o.files(0))
    rest = b"Subject: smuggled\r\n\r\nplain octets after the end of TLS\r\n"
    for after in (rest, rest + b"MAIL FROM:<evil@elsewhere.test>\r\n", b"x", b"\x17\x03\x03\x00\x05hello", rest * 2000):
        sock, tls, out, pump = tls_by_hand(o, "submissions")
        pump(lambda: tls.read(1000))
        for line, want in ((b"EHLO client.test\r\n", b"250"), (b"AUTH PLAIN " + plain(o) + b"\r\n", b"235"),
                           (b"MAIL FROM:<" + o.user(0).encode() + b">\r\n", b"250"), (b"RCPT TO:<" + o.user(0).encode() + b">\r\n", b"250")):
            pump(lambda: tls.write(line))
            got = pump(lambda: tls.read(4000))
            assert got.startswith(want), got
        tls.write(b"BDAT %d LAST\r\nSubject: first\r\n" % (len(b"Subject: first\r\n") + len(rest)))
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        try:
            sock.sendall(out.read() + after)
            answer = b""
            while got := sock.recv(65536):
                answer += got
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            raise AssertionError("the connection goes on")
        assert b"250" not in answer and len(answer) < 200, answer  # an alert at most
        sock.close()
    assert len(o.files(0)) == box
    assert "smuggled" not in o.log() and "evil@" not in o.log()
    o.deliver(office.message("after the chunks"), 0)


def plain(o):
    return office.base64.b64encode(f"\0{o.user(0)}\0{o.password}".encode())


def early_talker(o):
    """S17: who talks before the greeting is sent away, whatever he says; the front is held so that he is surely first."""
    for text in (b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", b"x"):
        pids = raw.pids_of(o, "smtpd.front")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        c = raw.Raw(o, "smtp", source="127.0.14.1")
        c.send(text)
        time.sleep(0.05)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        said = c.rest()
        assert [x[:9] for x in said] == ["554 5.5.0"], (text, said)
    c = raw.smtp(o, source="127.0.14.1")
    c.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nMAIL FROM:<a@b.test>\r\n")
    said = c.rest()
    assert [x[:9] for x in said] == ["554 5.5.1"], said
    o.expect_log(r" attack ")


def side_by_side(o):
    """What waits for the clock."""
    failed = []

    def guarded(f):
        try:
            f(o)
        except Exception as e:
            failed.append(f"{f.__name__}: {e!r}")
    threads = [threading.Thread(target=guarded, args=(f,)) for f in (crowded, smtp_errors, wrong_passwords, message_size)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, "\n".join(failed)


if __name__ == "__main__":
    sys.exit(office.main([table, smtp_lines, imap_before_login, imap_after_login, pop3_line, smtp_junk, bad_commands, headers, memory_and_files, end_of_tls_in_a_chunk,
                          early_talker, side_by_side, connections_of_an_address, sessions_of_a_user, new_connections], users=2,
                         extra="fronts = 1; limits = { loopback = true; connections = %d; };" % ROOM))
