#!/usr/bin/env python3
"""A 45 MB APPEND by LITERAL+ and by a synchronising literal, byte for byte; too big is refused before the literal comes."""
import re
import socket
import sys
import time

import office

SIZE = 45 << 20
LIMIT = 50 << 20
TEXT = office.message("45 MB", "") + office.lines(SIZE, seed=7)


def command(m, line):
    """Sends octets with our own tag; returns the response line of that tag or the first "+"."""
    m.send(line)
    while True:
        got = m.readline()
        assert got, "the server closed"
        if got.startswith((b"+", b"big ")):
            return got


def fetched(m, folder):
    assert m.select(folder)[1] == [b"1"]
    size = int(re.search(rb"RFC822.SIZE (\d+)", m.fetch("1", "(RFC822.SIZE)")[1][0])[1])
    assert size == len(TEXT), size
    got = m.fetch("1", "(BODY.PEEK[])")[1][0][1]
    assert got == TEXT, "what came back differs from what was appended"
    part = m.fetch("1", f"(BODY.PEEK[]<{SIZE - 1000}.500>)")[1][0][1]
    assert part == TEXT[SIZE - 1000:SIZE - 500]
    m.unselect()


def synchronising(o):
    for service, folder in (("imaps", "Archive"), ("imap_plain", "Sent")):
        m = o.imap(service=service)
        began = time.monotonic()
        assert command(m, b"big APPEND %s (\\Seen) {%d}\r\n" % (folder.encode(), len(TEXT))).startswith(b"+ ")
        m.send(TEXT)
        got = command(m, b"\r\n")
        assert got.startswith(b"big OK [APPENDUID "), got
        print(f"     {len(TEXT) >> 20} MB by {service}: {time.monotonic() - began:.2f} s")
        fetched(m, folder)
        m.logout()
    assert o.texts(0, "Archive") == [TEXT]


def literal_plus(o):
    m = o.imap()
    got = command(m, b"big APPEND Drafts {%d+}\r\n" % len(TEXT) + TEXT + b"\r\n")
    assert got.startswith(b"big OK [APPENDUID "), got
    fetched(m, "Drafts")
    m.logout()
    assert o.texts(0, "Drafts") == [TEXT]


def too_big(o):
    """A synchronising literal: refused at once. LITERAL+: refused, and the octets are skipped or the connection ends."""
    m = o.imap()
    for size in (LIMIT + 1, 1 << 32, 1 << 40):
        got = command(m, b"big APPEND INBOX {%d}\r\n" % size)
        assert got.startswith(b"big NO [TOOBIG]"), got
    assert m.noop()[0] == "OK", "the session must go on"
    assert command(m, b"big APPEND INBOX {%d}\r\n" % LIMIT).startswith(b"+ "), "what is announced as allowed must be"
    m.shutdown()
    m = o.imap()
    m.socket().settimeout(20)
    try:
        m.send(b"big APPEND INBOX {%d+}\r\n" % (LIMIT + 1))
        sent = 0
        while sent <= LIMIT:
            n = min(1 << 20, LIMIT + 1 - sent)
            m.send(b"x" * n)
            sent += n
        m.send(b"\r\n")
    except OSError:
        pass  # it closed: allowed
    said = b""
    try:
        while b"big " not in said and (got := m.readline()):
            said += got
    except OSError:
        pass
    assert b"big NO [TOOBIG]" in said or b"* BYE" in said or b"big BAD [TOOBIG]" in said, said
    m.shutdown()
    assert o.files() == []


def broken_off(o):
    """Half of it, then the line is cut: nothing appears, nothing stays in the state folder."""
    m = o.imap(service="imap_plain")
    assert command(m, b"big APPEND INBOX {%d}\r\n" % len(TEXT)).startswith(b"+ ")
    m.send(TEXT[:20 << 20])
    m.socket().shutdown(socket.SHUT_RDWR)
    m.shutdown()

    def staged():
        found = []
        for folder, _, files in office.os.walk(o.statedir()):
            for name in files:
                try:
                    if office.os.stat(office.os.path.join(folder, name)).st_size > 1 << 20:
                        found.append(name)
                except FileNotFoundError:  # gone while we looked
                    pass
        return found
    assert office.wait_for(lambda: not staged()), staged()
    assert o.files() == []


if __name__ == "__main__":
    sys.exit(office.main([synchronising, literal_plus, too_big, broken_off]))
