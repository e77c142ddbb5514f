#!/usr/bin/env python3
"""Mail out, with curl, imaplib and poplib: lists, fetches, flags, folders, and what the Maildir looks like after."""
import email
import imaplib
import os
import poplib
import re
import sys
import time

import office

BODY = "Zeile mit Umlaut: äöü\r\n.\r\n..\r\nlast line\r\n"
NAMES = ["Grüße & Küsse", "日本語", "Ω-Post"]


def utf7(name):
    """A mailbox name in modified UTF-7 (RFC 3501 5.1.3), quoted."""
    out = re.sub(r"[^\x20-\x7e]+|&", lambda m: "&-" if m[0] == "&" else "&" + m[0].encode("utf-16-be").hex(":") + "-", name)
    return out if out == name else '"' + re.sub(
        r"&([0-9a-f:]+)-", lambda m: "&" + __import__("base64").b64encode(bytes.fromhex(m[1].replace(":", ""))).decode()
        .rstrip("=").replace("/", ",") + "-", out) + '"'


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def fill(o, n, count):
    """The same `count` messages into u<n>'s INBOX; returns what was sent."""
    texts = [office.message(f"read {i}", BODY * i, to=o.user(n)) for i in range(1, count + 1)]
    o.deliver(texts, n)
    return texts


def curl_imap(o):
    texts = fill(o, 0, 3)
    for service in ("imap", "imaps"):
        said = o.curl(service, "INBOX", "-X", "STATUS INBOX (MESSAGES UNSEEN)").stdout
        assert b"* STATUS INBOX (MESSAGES 3 UNSEEN %d)" % (3 if service == "imap" else 1) in said, said  # curl read 1 and a part of 2
        said = o.curl(service, "").stdout
        assert re.search(rb'\* LIST \([^)]*\) "/" "?INBOX"?\r\n', said), said
        for i, text in enumerate(texts, 1):
            if i == 1 or service == "imaps":
                assert o.curl(service, f"INBOX;MAILINDEX={i}").stdout.endswith(text), i
        got = o.curl(service, "INBOX;MAILINDEX=2;SECTION=HEADER.FIELDS%20(SUBJECT)").stdout
        assert got.strip() == b"Subject: read 2", got
        said = o.curl(service, "INBOX?SUBJECT%20%22read%203%22").stdout
        assert said.split() == b"* SEARCH 3".split(), said
    up = os.path.join(o.home, "up")
    o.put(up, texts[0])
    o.curl("imaps", "Sent", "-T", up)
    assert o.texts(0, "Sent") == [texts[0]]


def curl_pop3(o):
    texts = fill(o, 1, 3)
    for service in ("pop3", "pop3s"):
        said = o.curl(service, "", n=1).stdout.splitlines()
        sizes = [os.stat(x).st_size for x in o.files(1)]
        assert sorted(int(x.split()[1]) for x in said) == sorted(sizes), (said, sizes)
        for i, text in enumerate(texts, 1):
            assert o.curl(service, f"{i}", n=1).stdout.endswith(text), i
        said = o.curl(service, "", "-X", "UIDL", n=1).stdout.split()
        assert said[0::2] == [b"1", b"2", b"3"] and len(set(said[1::2])) == 3, said
    o.curl("pop3s", "2", "-X", "DELE", "-I", n=1)
    left = [int(x.split()[0]) for x in o.curl("pop3s", "", n=1).stdout.splitlines()]
    assert left == [1, 2], left
    assert [t for t in texts if any(x.endswith(t) for x in o.texts(1))] == [texts[0], texts[2]]


def python_pop3(o):
    texts = fill(o, 2, 4)
    p = o.pop3(2)
    assert p.stat()[0] == 4
    uids = [x.split()[1] for x in p.uidl()[1]]
    assert len(set(uids)) == 4, uids
    for i, text in enumerate(texts, 1):
        assert b"\r\n".join(p.retr(i)[1] + [b""]).endswith(text), i
        _, top, _ = p.top(i, 1)
        assert top[-1].decode() == BODY.split("\r\n")[0] and top[-2] == b"", top
    p.dele(1)
    p.dele(4)
    assert p.stat()[0] == 2
    p.rset()
    assert p.stat()[0] == 4
    p.dele(2)
    p.close()  # no QUIT: nothing is deleted (RFC 1939 6)
    p = o.pop3(2, "pop3_plain")
    assert [x.split()[1] for x in p.uidl()[1]] == uids
    p.dele(2)
    p.quit()
    p = o.pop3(2, login=False)
    p.user(o.user(2))
    try:
        p.pass_("wrong")
        raise AssertionError("a wrong password was taken")
    except poplib.error_proto as e:
        assert b"[AUTH]" in e.args[0], e
    p.close()
    p = poplib.POP3(o.info["host"], o.port("pop3"), timeout=20)
    p.stls(context=o.tls())
    p.user(o.user(2))
    p.pass_(o.password)
    assert [x.split()[1] for x in p.uidl()[1]] == [uids[0], uids[2], uids[3]]
    p.quit()


def fetch_and_flags(o):
    texts = fill(o, 3, 5)
    m = o.imap(3)
    assert ok(m.select("INBOX")) == [b"5"]
    for i, text in enumerate(texts, 1):
        whole = ok(m.fetch(str(i), "(BODY.PEEK[])"))[0][1]
        assert whole.endswith(text), i
        size = ok(m.fetch(str(i), "(RFC822.SIZE)"))[0]
        assert int(re.search(rb"RFC822.SIZE (\d+)", size)[1]) == len(whole), size
        subject = email.message_from_bytes(whole)["Subject"]
        assert b'"read %d"' % i in ok(m.fetch(str(i), "(ENVELOPE)"))[0] and subject == f"read {i}"
    part = ok(m.fetch("3", "(BODY.PEEK[TEXT]<5.20>)"))[0][1]
    assert part == (BODY * 3).encode()[5:25], part
    assert all(set(imaplib.ParseFlags(x)) <= {b"\\Recent"} for x in ok(m.fetch("1:5", "(FLAGS)")))
    ok(m.fetch("2", "(BODY[])"))
    ok(m.store("1", "+FLAGS", r"(\Flagged \Answered)"))
    ok(m.store("3:4", "FLAGS.SILENT", r"(\Deleted $Forwarded Wichtig)"))
    ok(m.store("4", "-FLAGS", r"(\Deleted)"))
    want = [{b"\\Flagged", b"\\Answered"}, {b"\\Seen"}, {b"\\Deleted", b"$Forwarded", b"Wichtig"}, {b"$Forwarded", b"Wichtig"}, set()]

    def flags(conn):
        return [set(imaplib.ParseFlags(x)) - {b"\\Recent"} for x in ok(conn.fetch("1:5", "(FLAGS)"))]
    assert flags(m) == want, flags(m)
    other = o.imap(3, "imap_plain")
    ok(other.select("INBOX", readonly=True))
    assert flags(other) == want, flags(other)
    for key, hits in (("FLAGGED", b"1"), ("KEYWORD Wichtig", b"3 4"), ("UNSEEN UNDELETED", b"1 4 5"), ("NOT SEEN SUBJECT 5", b"5"),
                      ("OR ANSWERED SEEN", b"1 2"), ('BODY "last line"', b"1 2 3 4 5"), ('TEXT "nowhere"', b"")):
        got = ok(other.search(None, key))[0]
        assert got == hits, (key, got)
    assert ok(other.uid("SEARCH", "CHARSET", "UTF-8", "BODY", '"äöü"'.encode()))[0].split() == [b"%d" % i for i in range(1, 6)]
    # the names on disk say the same; P is $Forwarded
    letters = {re.search(r"U=(\d+)", x)[1]: x.rsplit(":2,", 1)[1] for x in o.files(3, where="cur")}
    assert letters["1"] == "FR" and letters["2"] == "S" and letters["3"].startswith("PT") and letters["5"] == "", letters
    other.logout()
    m.logout()


def append_and_search(o):
    m = o.imap(3)
    text = office.message("appended", BODY)
    when = imaplib.Time2Internaldate(1000000000)
    said = ok(m.append("Drafts", r"(\Draft \Seen)", when, text))
    uid = re.search(rb"APPENDUID (\d+) (\d+)", said[0])
    assert uid, said
    ok(m.select("Drafts"))
    got = ok(m.uid("FETCH", uid[2], "(UID FLAGS INTERNALDATE BODY.PEEK[])"))[0]
    assert got[1] == text
    assert set(imaplib.ParseFlags(got[0])) == {b"\\Draft", b"\\Seen"}, got[0]
    assert time.mktime(imaplib.Internaldate2tuple(got[0])) == 1000000000, got[0]
    assert ok(m.search(None, "DRAFT", "SINCE", "1-Jan-2001", "BEFORE", "1-Jan-2002"))[0] == b"1"
    typ, said = m.append("Nowhere", None, None, text)
    assert typ == "NO" and b"[TRYCREATE]" in said[0], said
    m.logout()


def copy_move_expunge(o):
    m = o.imap(3)
    ok(m.create("Ablage"))
    ok(m.select("INBOX"))
    before = ok(m.fetch("1:5", "(UID FLAGS RFC822.SIZE)"))
    said = ok(m.copy("1:2", "Ablage"))
    assert re.fullmatch(rb"\[COPYUID \d+ 1:2 1:2\].*", said[0]), said
    typ, said = m.uid("MOVE", "4", "Ablage")
    assert typ == "OK", said
    assert m.response("EXPUNGE")[1] == [b"4"]
    ok(m.store("1", "+FLAGS", r"(\Deleted)"))
    typ, said = m.uid("EXPUNGE", "1")
    assert typ == "OK"
    left = ok(m.uid("SEARCH", "ALL"))[0]
    assert left == b"2 3 5", left
    ok(m.expunge())
    assert ok(m.uid("SEARCH", "ALL"))[0] == b"2 5"
    assert ok(m.select("Ablage")) == [b"3"]
    after = ok(m.fetch("1:3", "(UID FLAGS RFC822.SIZE)"))
    for old, new in zip((before[0], before[1], before[3]), after):
        assert set(imaplib.ParseFlags(old)) - {b"\\Recent"} == set(imaplib.ParseFlags(new)) - {b"\\Recent"}, (old, new)
        assert re.search(rb"SIZE (\d+)", old)[1] == re.search(rb"SIZE (\d+)", new)[1]
    ok(m.close())
    assert len(o.files(3)) == 2 and len(o.files(3, "Ablage")) == 3
    m.logout()


def folders(o):
    m = o.imap(3)
    for name in NAMES:
        ok(m.create(utf7(name)))
        ok(m.subscribe(utf7(name)))
    ok(m.create(utf7("Kunden/Müller/2026")))
    seen = b"\n".join(ok(m.list()))
    for name in NAMES + ["Kunden/Müller/2026"]:
        assert utf7(name).strip('"').encode() in seen, (name, seen)
        assert os.path.isdir(o.maildir(3, utf7(name).strip('"').replace("/", "."))), os.listdir(o.maildir(3))
    ok(m.append(utf7(NAMES[0]), None, None, office.message("in a folder", BODY)))
    ok(m.rename(utf7(NAMES[0]), utf7("Neu: ÄÖ")))
    ok(m.rename("Kunden", "Kundschaft"))
    names = {x.rsplit(b'"/"', 1)[1].strip().strip(b'"') for x in ok(m.list())}
    assert utf7("Kundschaft/Müller/2026").strip('"').encode() in names, names
    assert not any(x.startswith(b"Kunden") for x in names), names
    assert ok(m.select(utf7("Neu: ÄÖ"))) == [b"1"]
    ok(m.fetch("1", "(BODY[])"))
    ok(m.unselect())
    typ, _ = m.select(utf7(NAMES[0]))
    assert typ == "NO"
    ok(m.delete(utf7("Neu: ÄÖ")))
    typ, said = m.create("INBOX")
    assert typ == "NO", said
    typ, said = m.create(utf7(NAMES[1]))
    assert typ == "NO" and b"[ALREADYEXISTS]" in said[0], said
    subscribed = b"\n".join(ok(m.lsub()))
    assert utf7(NAMES[1]).strip('"').encode() in subscribed
    m.logout()
    m = o.imap(3)
    m.enable("UTF8=ACCEPT")
    assert any("日本語".encode() in x for x in ok(m.list()))
    ok(m.select('"Ω-Post"'))
    m.logout()
    for use in ("Drafts", "Sent", "Trash", "Junk", "Archive"):
        assert re.search(rb"\(.*\\%s.*\) \"/\" \"?%s" % (use.encode(), use.encode()), seen), (use, seen)


def logins(o):
    m = o.imap(0, "imap", login=False)
    assert "LOGINDISABLED" in m.capabilities and not any(x.startswith("AUTH=") for x in m.capabilities), m.capabilities
    m.starttls(o.tls())
    assert "AUTH=SCRAM-SHA-256" in m.capabilities, m.capabilities
    ok(m.authenticate("SCRAM-SHA-256", office.Scram(o.user(0), o.password).steps()))
    ok(m.select("INBOX"))
    m.logout()
    m = o.imap(0, login=False)
    ok(m.authenticate("PLAIN", lambda c: f"\0{o.user(0)}\0{o.password}".encode()))
    m.logout()
    m = o.imap(0, login=False)
    try:
        m.login(o.user(0), "wrong")
        raise AssertionError("a wrong password was taken")
    except imaplib.IMAP4.error as e:
        assert b"[AUTHENTICATIONFAILED]" in e.args[0], e
    ok(m.login(o.user(0), o.password))
    m.logout()


if __name__ == "__main__":
    office.needs("curl")
    sys.exit(office.main([curl_imap, curl_pop3, python_pop3, fetch_and_flags, append_and_search, copy_move_expunge, folders,
                          logins], users=4))
