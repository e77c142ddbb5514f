#!/usr/bin/env python3
"""postamt.cache through IMAP: what is told of a message is the same from the message and from the cache; without the
cache, with a damaged one, in a second session, for a copy, after a restart; and then the message is not opened."""
import glob
import os
import random
import shutil
import sys

import instance
import office

WORD = "=?utf-8?Q?Gr=C3=BC=C3=9Fe?="
ITEMS = [
    "(UID ENVELOPE)",
    "(UID BODY BODYSTRUCTURE)",
    "FULL",
    "(UID BODY.PEEK[HEADER.FIELDS (Date Subject From To Cc Message-ID References)])",
    "(UID BODY.PEEK[HEADER.FIELDS (Subject)]<3.20> ENVELOPE)",
]
SECTIONS = [
    "(UID BODY.PEEK[1])",
    "(UID BODY.PEEK[2] BODY.PEEK[1.MIME] BODY.PEEK[2.HEADER] BODY.PEEK[2.1] BODY.PEEK[9])",
    "(UID BODY.PEEK[2]<100.70000> BODY.PEEK[2.HEADER.FIELDS (SUBJECT)])",
    "(UID BODY.PEEK[HEADER])",
    "(UID BODY.PEEK[HEADER.FIELDS.NOT (Subject)])",
    "(UID BODY.PEEK[HEADER.FIELDS (X-Other)] BODY.PEEK[HEADER.FIELDS (Subject)])",
]
SEARCHES = ["SUBJECT flat", "FROM anna", "HEADER Message-ID 3@x", "HEADER X-Other yes", "SENTSINCE 1-Jan-2020",
            "NOT SUBJECT flat OR TO u0 CC else", "SUBJECT nested BODY inner"]


def texts():
    def header(n, subject, extra=""):
        return (f"From: Anna <anna@elsewhere.test>\r\nTo: u0@example.test\r\nCc: \"Else, Somebody\" <else@example.net>\r\n"
                f"Subject: {subject}\r\nDate: Tue, {10 + n} Nov 2026 10:00:00 +0100\r\nMessage-ID: <{n}@x>\r\n{extra}MIME-Version: 1.0\r\n")
    flat = header(1, "flat") + "\r\nHello\r\n"
    word = header(2, f"{WORD} aus Bonn", "X-Other: yes\r\n") + "Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n"
    inner = header(3, "inner one") + "\r\ninner text\r\n"
    nested = (header(3, "nested", "References: <1@x>\r\n <2@x>\r\n") + "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n"
              "\r\nfirst\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--b--\r\n")
    big = (header(4, "big") + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsmall\r\n--b\r\nContent-Type: application/pdf; "
           "name=a.pdf\r\nContent-Disposition: attachment\r\n\r\n" + office.lines(400000).decode() + "\r\n--b--\r\n")
    long = header(5, "long", "".join(f"To: person{i}@example.test\r\n" for i in range(2000))) + "\r\nlong header\r\n"
    return [t.encode() for t in (flat, word, nested, big, long)]


def answers(m, mailbox="INBOX", items=None):
    office_ok(m.select(mailbox, readonly=True))
    out = [m.fetch("1:*", i) for i in (items or ITEMS + SECTIONS)]
    out += [m.search(None, s) for s in SEARCHES]
    m.literal = "grüße".encode()
    out.append(m.search("UTF-8", "SUBJECT"))
    assert all(a[0] == "OK" for a in out), out
    m.unselect()
    return out


def same(got, wanted, when=""):
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        for x, y in zip(a[1], b[1], strict=True):
            assert x == y, f"{when}: answer {i}: {str(x)[:600]} is not {str(y)[:600]}"
    assert got == wanted, when


def office_ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def cache_file(o, n=0, folder="INBOX"):
    return os.path.join(o.statedir(n), folder, "postamt.cache")


def fill(o, n=0):
    o.deliver(texts(), n)
    # a file with LF alone, as another server leaves it
    o.put(os.path.join(o.maildir(n), "new", "1700000000.foreign.host"), texts()[2].replace(b"\r\n", b"\n").replace(b"@x>", b"@y>"))


def same_answers(o):
    fill(o)
    m = o.imap(0)
    office_ok(m.select("INBOX"))  # takes \\Recent
    m.unselect()
    cold = answers(m)
    assert os.path.getsize(cache_file(o)) > 1000
    assert len(cold[0][1]) == 6 and len([x for x in cold[5][1] if isinstance(x, tuple)]) >= 6, cold
    size = os.path.getsize(cache_file(o))
    same(answers(m), cold, "again, from the cache")
    second = o.imap(0)
    same(answers(second), cold, "in a second session")
    office_ok(m.select("INBOX"))
    for _ in range(5):
        same(answers(second), cold)
    assert os.path.getsize(cache_file(o)) == size, "nothing was to be put"
    os.unlink(cache_file(o))
    same(answers(second), cold, "the cache is gone while a session has the mailbox")
    m.unselect()
    os.unlink(cache_file(o))
    same(answers(m), cold, "and while none has")
    for i in reversed(ITEMS + SECTIONS):  # in another order each is the cold one once
        os.unlink(cache_file(o)) if os.path.exists(cache_file(o)) else None
        same(answers(m, items=[i])[:1], [cold[(ITEMS + SECTIONS).index(i)]], i)
    m.logout()
    second.logout()
    o.restart()
    m = o.imap(0)
    same(answers(m), cold, "after a restart")
    m.logout()


def copies(o):
    m = o.imap(0)
    cold = answers(m)
    office_ok(m.create("Copied"))
    office_ok(m.select("INBOX"))
    office_ok(m.copy("1:*", "Copied"))
    copied = answers(m, "Copied")
    same(answers(m, "Copied"), copied)

    def without_uid(x):
        return [[p[p.index(b"("):] if isinstance(p, bytes) and b"(" in p else p for p in ([y] if isinstance(y, bytes) else y)]
                for y in x[1]]
    assert len(copied[0][1]) == len(cold[0][1])
    for a, b in zip(cold[:2], copied[:2]):
        for x, y in zip(without_uid(a), without_uid(b)):
            assert [p.split(b" ", 2)[2:] for p in x] == [p.split(b" ", 2)[2:] for p in y], (x, y)
    m.logout()


def not_opened(o):
    """With the files locked up: what lists ask for is told all the same."""
    short = "1:5"  # the long header is beyond what is kept
    m = o.imap(0)
    office_ok(m.select("INBOX", readonly=True))
    before = [m.fetch(short, i) for i in ITEMS]
    found = m.search(None, f"{short} SUBJECT flat")
    for name in o.files(0):
        os.chmod(name, 0)
    try:
        for i, item in enumerate(ITEMS):
            same([m.fetch(short, item)], [before[i]], item)
        assert m.search(None, f"{short} SUBJECT flat") == found
        answer = m.fetch("1", "(BODY.PEEK[TEXT])")
        assert answer[0] == "NO", "the files can be read after all: the test tells nothing"
    finally:
        for name in o.files(0):
            os.chmod(name, 0o400)
    o.expect_log("store-error .*Permission denied")
    m.logout()


def damaged(o):
    """Flipped octets and cut ends while sessions are open: never a wrong answer, never an error, no growth without end."""
    rng = random.Random(5)
    m, second = o.imap(0), o.imap(0)
    cold = answers(m, items=ITEMS)
    usual = os.path.getsize(cache_file(o))
    office_ok(second.select("INBOX", readonly=True))
    for i in range(60):
        path = cache_file(o)
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            if i % 10 == 9:
                f.truncate(rng.randrange(size))
            for _ in range(rng.randrange(1, 4)):
                f.seek(rng.randrange(size))
                octet = f.read(1) or b"\0"
                f.seek(-len(octet) if f.tell() else 0, 1)
                f.write(bytes([octet[0] ^ 1 << rng.randrange(8)]))
        same(answers(m if i % 2 else second, items=ITEMS), cold, i)
        if i % 2 == 0:
            office_ok(second.select("INBOX", readonly=True))
    assert os.path.getsize(cache_file(o)) < 2 * usual + 200000
    m.logout()
    second.logout()


def state_removed(o):
    m = o.imap(0)
    cold = answers(m, items=ITEMS)
    office_ok(m.select("INBOX", readonly=True))
    for x in glob.glob(os.path.join(o.statedir(0), "INBOX", "*")):
        os.unlink(x)
    for i, item in enumerate(ITEMS):
        same([m.fetch("1:*", item)], [cold[i]], item)
    m.logout()
    instance.end(o.info["pid"])
    for x in glob.glob(os.path.join(o.office, "state", "*")):
        shutil.rmtree(x)
    o.restart()
    m = o.imap(0)
    same(answers(m, items=ITEMS), cold)
    m.logout()


if __name__ == "__main__":
    sys.exit(office.main([same_answers, copies, not_opened, damaged, state_removed], users=2))
