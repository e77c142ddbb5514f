#!/usr/bin/env python3
"""What IMAP and POP3 delete is kept outside of the mailboxes and the quota, comes back with its flags, and goes for good in its time."""
import imaplib
import json
import os
import re
import signal
import subprocess
import sys
import time

import instance
import office

DATE = '"01-Jan-2020 10:20:30 +0000"'


def used(o, n=0):
    return json.loads(o.cli("account", "show", o.user(n), "--json").stdout.splitlines()[0])["used"]


def held(o, n=0):
    """Files in expunged/ that are messages."""
    top = os.path.join(o.info["maildir"] % n, os.pardir, "expunged")
    return sorted(os.path.join(where, x) for where, _, files in os.walk(top) for x in files
                  if re.match(r"[ls][0-9a-z]+(~[0-9a-z]+)?\.", x) or os.path.basename(where) in ("cur", "new"))


def fetch(m, numbers="1:*"):
    """Subject -> (UID, flags, INTERNALDATE) of the selected mailbox."""
    found = {}
    for part in m.fetch(numbers, "(UID FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(part, tuple):
            head = part[0].decode()
            found[re.search(r"Subject: (.*)\r", part[1].decode())[1]] = (
                int(re.search(r"UID (\d+)", head)[1]), set(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {r"\Recent"},
                re.search(r'INTERNALDATE ("[^"]*")', head)[1])
    return found


def undelete(o, *args, n=0):
    r = o.cli("mailbox", "undelete", o.user(n), *args, "--json")
    return [json.loads(x) for x in r.stdout.splitlines()]


def expunge_and_back(o):
    o.deliver(office.message("first"))  # from now on the server counts
    o.find("first")
    assert office.wait_for(lambda: used(o))
    m = o.imap()
    for i, flags in enumerate((r"(\Seen $Label3)", r"(\Flagged \Answered)", "()")):
        assert m.append("INBOX", flags, DATE, office.message(f"mail {i}"))[0] == "OK"
    watching = o.imap()
    watching.select("INBOX")
    m.select("INBOX")
    before, size = fetch(m), used(o)
    assert list(before) == ["first", "mail 0", "mail 1", "mail 2"], before
    assert m.store("2:3", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert m.expunge()[0] == "OK"
    assert len(o.files()) == 2 and len(held(o)) == 2, (o.files(), held(o))
    assert office.wait_for(lambda: used(o) < size), used(o)
    watching.noop()
    assert list(fetch(watching)) == ["first", "mail 2"]
    assert b"expunged" not in b" ".join(m.list()[1]), m.list()

    shown = undelete(o, "--dry-run")
    assert sorted(x["subject"] for x in shown) == ["mail 0", "mail 1"], shown
    assert shown[0]["from"] == "anna@elsewhere.test" and shown[0]["date"] == "2020-01-01T10:20:30Z", shown
    assert len(held(o)) == 2
    assert undelete(o, "--since", "2030-01-01") == []
    assert [(x["mailbox"], x["messages"]) for x in undelete(o, "INBOX", "--since", "1h")] == [("INBOX", 2)]
    assert held(o) == []
    watching.noop()
    after = fetch(watching)
    assert set(after) == set(before), after
    for subject in ("mail 0", "mail 1"):
        assert after[subject][0] > before["mail 2"][0], "no new UID"
        assert after[subject][1:] == before[subject][1:], (before[subject], after[subject])
    assert office.wait_for(lambda: used(o) == size), (used(o), size)
    m.logout()
    watching.logout()


def pop3(o):
    o.deliver(office.message("by pop3"))
    o.find("by pop3")
    p = o.pop3()
    p.dele(len(p.list()[1]))
    assert p.quit().startswith(b"+OK")
    kept = held(o)
    assert len(kept) == 1 and os.path.basename(kept[0])[0] == "s", kept
    assert [x["mailbox"] for x in undelete(o)] == ["INBOX"]
    o.find("by pop3")


def mailbox_and_back(o):
    m = o.imap()
    m.create("Projekte")
    m.append("Projekte", r"(\Seen word)", DATE, office.message("project"))
    m.select("Projekte")
    before, validity, size = fetch(m), m.response("UIDVALIDITY")[1], used(o)
    m.close()
    assert m.delete("Projekte")[0] == "OK"
    assert office.wait_for(lambda: used(o) < size)
    assert m.select("Projekte")[0] == "NO"
    assert [x["messages"] for x in undelete(o, "Projekte")] == [1]
    m.select("Projekte")
    assert (fetch(m), m.response("UIDVALIDITY")[1]) == (before, validity)
    assert office.wait_for(lambda: used(o) == size), (used(o), size)
    r = o.cli("mailbox", "undelete", o.user(), "Nirgends", check=False)
    assert r.returncode == 67, (r.returncode, r.stderr)
    m.logout()


def killed_and_down(o):
    """Expunged stays expunged over a kill of everything; and it comes back with the server down."""
    m = o.imap()
    m.select("INBOX")
    count = len(o.files())
    m.store("1", "+FLAGS.SILENT", r"(\Deleted)")
    assert m.expunge()[0] == "OK"
    for pid in instance.descendants(o.info["pid"]):
        os.kill(pid, signal.SIGKILL)
    o.restart()
    assert len(o.files()) == count - 1 and len(held(o)) == 1
    o.stop()
    assert [x["messages"] for x in undelete(o)] == [1]
    assert len(o.files()) == count and held(o) == []
    o.restart()
    m = o.imap()
    assert m.select("INBOX")[1] == [str(count).encode()]
    m.logout()


def syncs(o):
    """n messages: n renames, one sync of each folder."""
    if subprocess.run(["sh", "-c", "command -v strace"], capture_output=True).returncode != 0:
        print("no strace: syncs are not counted")
        return
    m = o.imap()
    for i in range(5):
        m.append("INBOX", None, None, office.message(f"sync {i}"))
    count = int(m.select("INBOX")[1][0])
    m.store(str(count), "+FLAGS", r"(\Deleted)")
    m.expunge()  # the folders are there
    m.store(f"{count - 4}:{count - 1}", "+FLAGS", r"(\Deleted)")  # keywords would be written down first
    time.sleep(1.2)  # the flags' own sync
    worker = [p for p in instance.descendants(o.info["pid"])
              if b"imapd.spawner" in open(f"/proc/{p}/cmdline", "rb").read()][-1]
    out = os.path.join(o.dir, "calls")
    s = subprocess.Popen(["strace", "-f", "-y", "-p", str(worker), "-e", "trace=fsync,fdatasync,renameat2,unlinkat", "-o", out],
                         stderr=subprocess.PIPE)
    assert b"attached" in s.stderr.readline()
    assert m.expunge()[0] == "OK"
    s.terminate()
    s.wait(10)
    with open(out) as f:
        calls = [x for x in f if re.search(r"(sync|rename|unlink)\w*\(", x)]
    renames = [x for x in calls if "renameat2" in x]
    done = [x for x in calls if "sync(" in x]
    assert len(renames) == 4 and len(calls) == 6, calls
    assert "/expunged/" in done[0] and "/cur>" in done[1], done  # where it is kept first
    m.logout()


def for_good(o):
    m = o.imap()
    m.select("INBOX")
    m.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    m.expunge()
    m.logout()
    assert held(o)
    # as old as can be; by the command, which has the time it needs
    old = held(o)[0]
    os.rename(old, os.path.join(os.path.dirname(old), re.sub(r"^([ls])[0-9a-z]+", r"\g<1>1", os.path.basename(old))))
    count = len(held(o))
    r = o.cli("mailbox", "purge", "--all", "--json")
    rows = [json.loads(x) for x in r.stdout.splitlines()]
    assert [x["messages"] for x in rows if x["address"] == o.user()] == [1], rows
    assert len(held(o)) == count - 1
    assert o.cli("mailbox", "purge", check=False).returncode == 64
    # and by the worker when it starts
    for old in held(o):
        os.rename(old, os.path.join(os.path.dirname(old), re.sub(r"^([ls])[0-9a-z]+", r"\g<1>1", os.path.basename(old))))
    os.unlink(os.path.join(o.statedir(), "postamt-purged"))
    o.restart()
    m = o.imap()
    assert office.wait_for(lambda: not held(o)), held(o)
    assert office.wait_for(lambda: re.search(rf"purge .*messages={count - 1}", o.log())), o.log()[-2000:]
    m.logout()
    assert undelete(o) == []


def not_kept(o):
    """store.keep_expunged = "0": what goes is gone."""
    with open(os.path.join(o.office, "postamt.conf"), "a") as f:
        f.write('store = { keep_expunged = "0"; keep_expunged_junk = "0"; };\n')
    o.restart()
    m = o.imap()
    m.append("INBOX", None, None, office.message("not kept"))
    m.select("INBOX")
    m.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    assert m.expunge()[0] == "OK"
    assert held(o) == [] and o.files() == []
    m.logout()


if __name__ == "__main__":
    imaplib.Debug = 0
    st = os.statvfs("/tmp")
    if st.f_bavail * 100 < st.f_blocks * 12:
        print("skipped: the disk is nearly full, nothing would be kept")
        sys.exit(77)
    sys.exit(office.main([expunge_and_back, pop3, mailbox_and_back, killed_and_down, syncs, for_good, not_kept]))
