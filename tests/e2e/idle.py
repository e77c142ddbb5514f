#!/usr/bin/env python3
"""IDLE in two sessions: new mail within a second (the time is printed), flags and expunges of others, a file put by hand."""
import re
import select
import sys
import time

import office

ROUNDS = 20


class Idler:
    """An IMAP session that idles; wait() for a line, done() to end it."""

    def __init__(self, o, n=0, service="imaps"):
        self.m = o.imap(n, service)
        assert self.m.select("INBOX")[0] == "OK"
        self.idle()

    def idle(self):
        self.m.send(b"idle IDLE\r\n")
        line = self.m.readline()
        while not line.startswith(b"+ "):
            assert line.startswith(b"* "), line
            line = self.m.readline()

    def wait(self, regex, seconds=1.0):
        """Lines until one matches; returns it and the seconds it took."""
        began, seen = time.monotonic(), []
        self.m.socket().settimeout(seconds)
        try:
            while True:
                line = self.m.readline().decode().rstrip("\r\n")
                assert line, f"the server closed; before it said {seen}"
                seen.append(line)
                if re.fullmatch(regex, line):
                    return line, time.monotonic() - began
        except TimeoutError:
            raise AssertionError(f"no line matched {regex} within {seconds} s; there were {seen}")
        finally:
            self.m.socket().settimeout(office.TIMEOUT)

    def done(self):
        self.m.send(b"DONE\r\n")
        said = []
        while not said or not said[-1].startswith("idle "):
            said.append(self.m.readline().decode().rstrip("\r\n"))
        assert said[-1].startswith("idle OK"), said
        return said[:-1]


def new_mail(o):
    """Each message is told to both sessions; how long after the 250 is printed."""
    a, b = Idler(o), Idler(o, service="imap_plain")
    times = []
    with o.smtp() as s:
        for i in range(1, ROUNDS + 1):
            s.sendmail("sender@elsewhere.test", [o.user(0)], office.message(f"idle {i}"))
            began = time.monotonic()
            for c in (a, b):
                c.wait(rf"\* {i} EXISTS")
                times.append(time.monotonic() - began)
    times.sort()
    print(f"     new mail in IDLE, {len(times)} times: median {times[len(times) // 2] * 1000:.1f} ms, longest {times[-1] * 1000:.1f} ms")
    assert times[-1] < 1 and times[len(times) // 2] < 0.01, times
    late = a.done() + b.done()
    assert all(x == f"* {ROUNDS} RECENT" or x == "* 0 RECENT" for x in late), late
    a.m.logout()
    b.m.logout()


def file_put_by_hand(o):
    a = Idler(o)
    name = f"{o.maildir(0)}/tmp/1795000000.by-hand"
    for folder, suffix, n in (("new", "", ROUNDS + 1), ("cur", ":2,S", ROUNDS + 2)):
        o.put(name, office.message(f"by hand {folder}"))
        office.os.rename(name, f"{o.maildir(0)}/{folder}/179500000{n % 10}.by-hand{suffix}")
        _, took = a.wait(rf"\* {n} EXISTS")
        print(f"     a file put into {folder}/ by hand: {took * 1000:.1f} ms")
    a.done()
    flags = a.m.fetch(str(ROUNDS + 2), "(FLAGS)")[1][0]
    assert rb"\Seen" in flags, flags
    a.m.logout()


def flags_of_another(o):
    """By a session in the same worker, and by a rename on disk."""
    a, b = Idler(o), o.imap(service="imap_plain")
    b.select("INBOX")
    began = time.monotonic()
    assert b.store("3", "+FLAGS", r"(\Flagged Wichtig)")[0] == "OK"
    line, _ = a.wait(r"\* 3 FETCH \(.*FLAGS \(.*\).*\)")
    print(f"     flags of another session: {(time.monotonic() - began) * 1000:.1f} ms")
    assert r"\Flagged" in line and "Wichtig" in line, line
    old = [x for x in o.files(where="cur") if ",U=5." in x][0]
    office.os.rename(old, old.rsplit(":2,", 1)[0] + ":2,RS")
    line, _ = a.wait(r"\* 5 FETCH \(.*FLAGS \(.*\).*\)")
    assert r"\Answered" in line and r"\Seen" in line, line
    a.done()
    a.m.logout()
    b.logout()


def expunges_of_another(o):
    a, b = Idler(o), o.imap(service="imap_plain")
    assert b.select("INBOX")[1] == [b"%d" % (ROUNDS + 2)]
    assert b.store("2,4", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    for n in (2, 4):
        a.wait(rf"\* {n} FETCH .*\\Deleted.*")
    began = time.monotonic()
    assert b.expunge()[0] == "OK"
    got = [a.wait(r"\* \d+ EXPUNGE")[0] for _ in range(2)]
    print(f"     expunges of another session: {(time.monotonic() - began) * 1000:.1f} ms")
    left = list(range(1, ROUNDS + 3))
    for line in got:
        left.pop(int(line.split()[1]) - 1)
    assert left == [x for x in range(1, ROUNDS + 3) if x not in (2, 4)], got
    # a file removed on disk
    office.os.unlink([x for x in o.files(where="cur") if ",U=7." in x][0])
    line, _ = a.wait(r"\* \d+ EXPUNGE", 3)
    assert line == "* 5 EXPUNGE", line  # 1 3 5 6 [7]
    # and by POP3
    p = o.pop3()
    assert p.stat()[0] == ROUNDS - 1
    p.dele(1)
    p.quit()
    line, _ = a.wait(r"\* \d+ EXPUNGE", 3)
    assert line == "* 1 EXPUNGE", line
    a.done()
    uids = a.m.uid("SEARCH", "ALL")[1][0].split()
    assert uids == [b"%d" % x for x in range(1, ROUNDS + 3) if x not in (1, 2, 4, 7)], uids
    a.m.logout()
    b.logout()


def nothing_while_nothing(o):
    """No line comes that nobody caused, and what was pipelined behind DONE is answered (iOS 18)."""
    a = Idler(o)
    assert not select.select([a.m.socket()], [], [], 1.0)[0], a.m.readline()
    a.m.send(b"DONE\r\nafter NOOP\r\n")
    assert a.m.readline().startswith(b"idle OK")
    line = a.m.readline()
    assert line.startswith(b"after OK"), line
    a.m.logout()


if __name__ == "__main__":
    sys.exit(office.main([new_mail, file_put_by_hand, flags_of_another, expunges_of_another, nothing_while_nothing]))
