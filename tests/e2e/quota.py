#!/usr/bin/env python3
"""An account with 1 MB of room: full is full by SMTP and IMAP, and an expunge makes room again."""
import json
import smtplib
import sys

import instance
import office

ROOM = 1 << 20
FULL = "full@example.test"
KB100 = office.lines(100 << 10)


def text(i):
    return office.message(f"quota {i}", "", to=FULL) + KB100


def used(o):
    return json.loads(o.cli("account", "show", FULL, "--json").stdout.splitlines()[0])["used"]


def imap(o):
    m = office.imaplib.IMAP4_SSL(o.info["host"], o.port("imaps"), ssl_context=o.tls(), timeout=office.TIMEOUT)
    m.login(FULL, o.password)
    return m


def fill(o):
    """Mail comes until it is full; then 452 4.2.2, and only for this account."""
    o.cli("account", "add", FULL, "--quota", "1M", stdin=instance.PASSWORD + "\n")
    taken = 0
    with o.smtp() as s:
        for i in range(20):
            try:
                s.sendmail("sender@elsewhere.test", [FULL], text(i))
                taken += 1
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as e:
                code, said = e.recipients[FULL] if hasattr(e, "recipients") else (e.smtp_code, e.smtp_error)
                assert code == 452 and said.startswith(b"4.2.2"), (code, said)
                break
        size = len(KB100)
        assert ROOM // size - 1 <= taken <= ROOM // size + 1, f"{taken} messages of {size} octets into {ROOM}"
        s.rset()
        refused = s.sendmail("sender@elsewhere.test", [FULL, o.user(0)], text(99))
        assert set(refused) == {FULL} and refused[FULL][0] == 452 and refused[FULL][1].startswith(b"4.2.2"), refused
    o.find("quota 99", 0)
    assert ROOM - 2 * size < office.wait_for(lambda: used(o)) <= ROOM + size, used(o)


def append_refused(o):
    """[OVERQUOTA], and the session goes on."""
    m = imap(o)
    m.select("INBOX")
    count = len(m.search(None, "ALL")[1][0].split())
    big = text("append") + KB100
    for name in ("INBOX", "Sent"):
        typ, said = m.append(name, None, None, big)
        assert typ == "NO" and b"[OVERQUOTA]" in said[0], (typ, said)
    assert m.create("Kopien")[0] == "OK"
    typ, said = m.copy("1:*", "Kopien")
    assert typ == "NO" and b"[OVERQUOTA]" in said[0], (typ, said)
    assert m.select("Kopien")[1] == [b"0"]
    m.select("INBOX")
    assert len(m.search(None, "ALL")[1][0].split()) == count
    assert m.append("INBOX", None, None, office.message("tiny"))[0] in ("OK", "NO")  # it may still fit
    assert m.uid("MOVE", "1", "Kopien")[0] == "OK", "a move needs no room"
    m.logout()


def room_again(o):
    m = imap(o)
    m.select("INBOX")
    before = used(o)
    assert m.store("1:4", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert m.expunge()[0] == "OK"
    now = office.wait_for(lambda: used(o) <= before - 4 * len(KB100) and used(o))
    assert now, (before, used(o))
    with o.smtp() as s:
        assert not s.sendmail("sender@elsewhere.test", [FULL], text("again"))
    assert m.append("Sent", None, None, text("append again"))[0] == "OK"
    m.noop()
    assert used(o) > now + 2 * len(KB100) - 1000
    # and by POP3
    p = office.poplib.POP3_SSL(o.info["host"], o.port("pop3s"), context=o.tls(), timeout=office.TIMEOUT)
    p.user(FULL)
    p.pass_(o.password)
    before = used(o)
    p.dele(1)
    p.quit()
    assert office.wait_for(lambda: used(o) < before - len(KB100) // 2), (before, used(o))
    m.logout()


def counted(o):
    """What authd says is what lies there, also after a restart and after an unclean end (then it is counted anew)."""
    def there():
        files = office.glob.glob(f"{o.info['maildir'].replace('u%d', 'full')}/**/cur/*", recursive=True)
        files += office.glob.glob(f"{o.info['maildir'].replace('u%d', 'full')}/**/new/*", recursive=True)
        files += office.glob.glob(f"{o.info['maildir'].replace('u%d', 'full')}/.*/cur/*")
        files += office.glob.glob(f"{o.info['maildir'].replace('u%d', 'full')}/.*/new/*")
        return sum(office.os.stat(x).st_size for x in set(files))
    want = there()
    assert want > 4 * len(KB100)
    assert office.wait_for(lambda: used(o) == want), (used(o), want)
    o.restart()
    assert office.wait_for(lambda: used(o) == want), (used(o), want)
    office.os.kill(o.info["pid"], 9)
    o.restart()

    with o.smtp() as s:  # nobody knows now: the first mail makes somebody count
        assert not s.sendmail("sender@elsewhere.test", [FULL], office.message("after the kill"))
    assert office.wait_for(lambda: used(o) == there()), (used(o), there())
    assert there() > want
    with o.smtp() as s:
        for i in range(20):
            try:
                s.sendmail("sender@elsewhere.test", [FULL], text(i))
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
                break
    assert there() <= ROOM + len(KB100), f"{there()} octets lie in a room of {ROOM}"


def append_after_kill(o):
    """The count is lost again, and the first to want room is an APPEND: it must not be given what is not there."""
    office.os.kill(o.info["pid"], 9)
    o.restart()
    m = imap(o)
    assert office.wait_for(lambda: used(o)), "a login does not make the server count"
    office.time.sleep(0.1)  # the worker is told in the same moment as we are
    typ, said = m.append("Drafts", None, None, text("after the kill"))
    assert typ == "NO" and b"[OVERQUOTA]" in said[0], (typ, said)
    m.logout()


if __name__ == "__main__":
    sys.exit(office.main([fill, append_refused, room_again, counted, append_after_kill]))
