#!/usr/bin/env python3
"""Derived files are derived: without state/, without each file in it, or with a damaged one, IMAP shows the same.

derived.py [--long]     (--long: each way after an orderly stop and after kill -9, not in turn)

UIDs, UIDVALIDITY, UIDNEXT, flags, keywords, dates, sizes and envelopes before and after. New mail afterwards gets UIDs that nobody had.

And names of another server: they get their UIDs in idle time, without anybody asking.
"""
import imaplib
import os
import re
import shutil
import signal
import smtplib
import sys
import tempfile
import time

import instance

BOXES = ("INBOX", "Work", "Work/Old")
OPEN_SECONDS = 1.0


class Bad(Exception):
    pass


def login(info):
    m = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=20)
    m.login(info["users"]["template"] % 0, info["users"]["password"])
    return m


def text(n):
    return f"From: a@b.test\r\nSubject: message {n}\r\nMessage-ID: <{n}@derived.test>\r\n\r\n{'x' * (n * 37 % 900)}\r\n".encode()


def fill(m):
    for box in BOXES[1:]:
        m.create(box)
    for n in range(45):
        date = imaplib.Time2Internaldate(1500000000 + n * 86400)
        m.append(BOXES[n % 3], (r"(\Seen)", r"(\Flagged $Label1)", r"(\Answered blue)", "")[n % 4] or None, date, text(n))
    for box in BOXES:
        m.select(box)
        m.store("3,5", "+FLAGS", r"(\Deleted)")
        m.expunge()
        m.store("2:4", "+FLAGS", "(red)")
    m.select("Work")
    m.uid("COPY", "1:2", "Work/Old")
    m.uid("MOVE", "7:8", "INBOX")
    m.close()


def sight(m, box, opened):
    began = time.monotonic()
    typ, data = m.select(box, readonly=True)
    opened.append(time.monotonic() - began)
    if typ != "OK":
        raise Bad(f"SELECT {box}: {data}")
    validity, following = (int(m.response(x)[1][0]) for x in ("UIDVALIDITY", "UIDNEXT"))
    typ, data = m.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)")
    if typ != "OK":
        raise Bad(f"FETCH of {box}: {data}")
    shown = {}
    for line in data:
        line = (line if isinstance(line, bytes) else b" ".join(line)).decode()
        uid = int(re.search(r"UID (\d+)", line)[1])
        flags = sorted(x for x in re.search(r"FLAGS \(([^)]*)\)", line)[1].split() if x != "\\Recent")
        shown[uid] = (flags, re.search(r'INTERNALDATE "([^"]*)"', line)[1], re.search(r"SIZE (\d+)", line)[1],
                      re.search(r"ENVELOPE (.*)", line)[1])
    return validity, following, shown


def sights(info, opened):
    m = login(info)
    found = {box: sight(m, box, opened) for box in BOXES}
    m.logout()
    return found


def compare(before, after, why):
    for box in BOXES:
        (v, following, had), (w, now_following, has) = before[box], after[box]
        if v != w:
            raise Bad(f"{why}: UIDVALIDITY of {box} was {v}, is {w}")
        if now_following < following:
            raise Bad(f"{why}: UIDNEXT of {box} was {following}, is {now_following}")
        for uid in sorted(set(had) | set(has)):
            if had.get(uid) != has.get(uid):
                raise Bad(f"{why}: UID {uid} of {box} was {had.get(uid)}, is {has.get(uid)}")


def stop(info, kill):
    if not kill:
        instance.end(info["pid"])
        return
    pids = instance.descendants(info["pid"])
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        os.waitpid(info["pid"], 0)
    except ChildProcessError:
        pass
    while any(instance.alive(p) for p in pids):
        time.sleep(0.01)


def derived_files(state):
    return sorted(os.path.join(where, f) for where, _, files in os.walk(state) for f in files)


def lose_all(state):
    for name in os.listdir(state):
        shutil.rmtree(os.path.join(state, name))


def lose_account(state):
    shutil.rmtree(os.path.join(state, instance.DOMAIN, "u0"))


def each(does):
    def do(state):
        files = derived_files(state)
        if not files:
            raise Bad("there are no derived files: nothing is tried")
        for path in files:
            does(path)
    return do


def cut(path):
    os.truncate(path, os.path.getsize(path) * 2 // 3)


def change(path):
    with open(path, "r+b") as f:
        old = f.read()
        f.seek(len(old) // 2)
        f.write(bytes(x ^ 0x55 for x in old[len(old) // 2:len(old) // 2 + 16]))


def empty(path):
    os.truncate(path, 0)


WAYS = [("all of state/ is lost", lose_all), ("the account's state is lost", lose_account),
        ("every derived file is lost", each(os.unlink)), ("every derived file is cut", each(cut)),
        ("every derived file is damaged", each(change)), ("every derived file is empty", each(empty))]


def new_mail(info, number):
    """A delivery and an APPEND: above all UIDs that were ever there."""
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=10) as s:
        s.sendmail("a@b.test", [info["users"]["template"] % 0], text(1000 + number))
    m = login(info)
    said = m.append("Work", None, None, text(2000 + number))[1][0]
    m.logout()
    return int(re.search(rb"APPENDUID \d+ (\d+)", said)[1])


def adopted(info, d):
    """300 names without UIDs: a list first, then the names, while the session does nothing."""
    folder = os.path.join(d, "mail", *reversed((info["users"]["template"] % 0).split("@")), "Maildir", ".Adopted")
    cur = os.path.join(folder, "cur")
    m = login(info)
    m.create("Adopted")
    for n in range(300):
        with open(os.path.join(cur, f"{1400000000 + n}.other{n}.host:2,S"), "wb") as f:
            f.write(text(n))
        os.chmod(f.name, 0o644)
    if m.select("Adopted")[1] != [b"300"]:
        raise Bad("another server's 300 messages are not all there")
    before = m.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
    until = time.monotonic() + 30
    while os.path.exists(os.path.join(folder, "postamt-adopt")) or any(",U=" not in x for x in os.listdir(cur)):
        if time.monotonic() > until:
            raise Bad(f"{sum(',U=' not in x for x in os.listdir(cur))} of 300 names have no UID after 30 s")
        time.sleep(0.1)
    m.noop()
    if m.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1] != before:
        raise Bad("adopted messages are not what they were")
    m.logout()


def main():
    opened, losses = [], 0
    with tempfile.TemporaryDirectory(prefix="postamt-derived-") as d:
        os.chmod(d, 0o755)
        info = instance.start(d, users=1, hash_scheme="sha512crypt")
        try:
            m = login(info)
            fill(m)
            m.logout()
            highest = 0
            for number, (why, damage) in enumerate(WAYS):
                for kill in (False, True) if "--long" in sys.argv else (number % 2 == 0,):
                    losses += 1
                    before = sights(info, opened)
                    stop(info, kill)
                    damage(os.path.join(d, "state"))
                    info = instance.restart(d)
                    compare(before, sights(info, opened), f"{why}, after {'kill -9' if kill else 'an orderly stop'}")
                    uid = new_mail(info, 2 * number + kill)
                    if uid <= max(highest, *before["Work"][2], before["Work"][1] - 1):
                        raise Bad(f"{why}: UID {uid} was given after {highest}, UIDNEXT {before['Work'][1]}")
                    highest = uid
                    # so that the next one has an expunged UID at the end to give again
                    m = login(info)
                    m.select("Work")
                    m.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)")
                    m.expunge()
                    m.logout()
            adopted(info, d)
            if max(opened) > OPEN_SECONDS * (5 if os.environ.get("POSTAMT_SANITIZED") else 1):
                raise Bad(f"a SELECT took {max(opened):.2f} s")
        except BaseException:
            print(instance.log_tail(d, 30))
            raise
        finally:
            instance.stop(d)
    print(f"{losses} losses, nothing lost; opened in {max(opened):.2f} s at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
