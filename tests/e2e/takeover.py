#!/usr/bin/env python3
"""From Dovecot to postamt and back on one tree: UIDs, UIDVALIDITY, flags, keywords, subscriptions and POP3 ids stay, and
mbsync finds nothing to do at either switch."""
import base64
import imaplib
import os
import re
import subprocess
import sys

import instance
import office

IMAP, POP3 = "/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3"
FOLDERS = ["Entwürfe für später", "Listen", "Listen/Über uns", "A & B"]
COUNT = 60
KEPT_UIDL = "UID4711-1130000000"  # as a server before Dovecot had it

DOVECOT = """base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
protocols = imap pop3
mail_location = maildir:{maildir}
first_valid_uid = 1
first_valid_gid = 1
ssl = no
namespace inbox {{
  inbox = yes
}}
"""


class Dovecot:
    """Its imap and pop3 programs on pipes, as the owner of the mail: no daemon, no port, no rights."""

    def __init__(self, o):
        self.d = os.path.join(o.dir, "dovecot")
        self.maildir = os.path.dirname(o.maildir()) if o.maildir().endswith("/") else o.maildir()
        for path in (self.d, self.d + "/run", os.path.dirname(self.maildir)):
            os.makedirs(path, exist_ok=True)
        with open(self.d + "/conf", "w") as f:
            f.write(DOVECOT.format(d=self.d, maildir=self.maildir))
        open(self.d + "/log", "a").close()
        self.as_owner = ""
        if os.getuid() == 0:
            self.as_owner = f"setpriv --reuid {instance.NOBODY} --regid {instance.NOBODY} --clear-groups "
            for path in (self.d, self.d + "/run", self.d + "/log", os.path.dirname(self.maildir),
                         os.path.dirname(os.path.dirname(self.maildir))):
                os.chown(path, instance.NOBODY, instance.NOBODY)

    def command(self, program):
        return f"{self.as_owner}env -i HOME={self.d} USER=u0 {program} -c {self.d}/conf 2>/dev/null"

    def imap(self):
        return imaplib.IMAP4_stream(self.command(IMAP))

    def uidls(self):
        r = subprocess.run(["sh", "-c", self.command(POP3)], input=b"UIDL\r\nQUIT\r\n", capture_output=True, timeout=30)
        return re.findall(rb"^\d+ (\S+)\r$", r.stdout, re.M)


def sync(o, far):
    """mbsync with one or the other server, the same near side; returns its report as in mbsync.py."""
    os.makedirs(os.path.join(o.home, "near"), exist_ok=True)
    name = os.path.join(o.home, "mbsyncrc")
    with open(name, "w") as f:
        f.write(f"""
IMAPStore far
{far}

MaildirStore near
Path {o.home}/near/
Inbox {o.home}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
SyncState *
""")
    r = o.tool("script", "-qec", f"mbsync -c {name} -a", "/dev/null", timeout=100, stdin=subprocess.DEVNULL)
    said = r.stdout.decode()
    assert "arning" not in said and "rror" not in said, said
    m = re.findall(r"F: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+\s+N: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+", said)
    assert m, said
    return tuple(int(x) for x in m[-1])


def by_dovecot(o):
    return sync(o, f'Tunnel "{o.dovecot.command(IMAP)}"')


def by_postamt(o):
    return sync(o, f"Host localhost\nPort {o.port('imaps')}\nUser {o.user(0)}\nPass {o.password}\nSSLType IMAPS\n"
                   f"CertificateFile {o.info['ca_file']}\nSystemCertificates no\nAuthMechs LOGIN")


def utf7(name):
    """Modified UTF-7 (RFC 3501 5.1.3)."""
    def run(m):
        return "&" + base64.b64encode(m.group().encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
    return re.sub(r"[^\x20-\x7e]+", run, name.replace("&", "&-"))


def names(m, command):
    """Mailboxes with '/' between the levels, whatever the server has."""
    out = set()
    for line in getattr(m, command)()[1]:
        if line:
            got = re.match(rb'\(([^)]*)\) "(.)" (?:"(.*)"|(\S+))$', line)
            if b"Noselect" not in got[1] and b"NonExistent" not in got[1]:
                out.add((got[3] or got[4]).decode().replace(got[2].decode(), "/"))
    return out


def snapshot(m):
    """mailbox -> (UIDVALIDITY, UIDNEXT, {UID: (flags, INTERNALDATE, size)}); and what is subscribed."""
    separator = re.search(rb'"(.)"', m.list('""', '""')[1][0])[1].decode()
    boxes = {}
    for name in names(m, "list"):
        assert m.select('"' + name.replace("/", separator) + '"', readonly=True)[0] == "OK", name
        validity, following = (int(m.response(x)[1][0]) for x in ("UIDVALIDITY", "UIDNEXT"))
        messages = {}
        for item in m.uid("FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE)")[1]:
            if item:
                flags = set(re.search(rb"FLAGS \(([^)]*)\)", item)[1].split()) - {b"\\Recent"}
                date = re.search(rb'INTERNALDATE "([^"]+)"', item)[1]
                messages[int(re.search(rb"UID (\d+)", item)[1])] = (
                    flags, re.sub(rb"^ ", b"0", date), re.search(rb"SIZE (\d+)", item)[1])
        boxes[name] = validity, following, messages
    subscribed = names(m, "lsub")
    m.logout()
    return boxes, subscribed


def compare(before, after):
    for name, (validity, following, messages) in before[0].items():
        there = after[0].get(name, (0, 0, {}))
        assert (validity, following) == there[:2], (name, validity, following, there[:2])
        assert messages.keys() == there[2].keys(), (name, messages.keys() ^ there[2].keys())
        for uid in messages:
            assert messages[uid] == there[2][uid], (name, uid, messages[uid], there[2][uid])
    assert before[1] <= after[1], before[1] - after[1]


def a_tree_of_dovecot(o):
    o.stop()
    o.dovecot = Dovecot(o)
    m = o.dovecot.imap()
    for name in FOLDERS:
        box = '"' + utf7(name).replace("/", ".") + '"'
        assert m.create(box)[0] == "OK" and m.subscribe(box)[0] == "OK", name
    m.subscribe("INBOX")
    for i in range(COUNT):
        flags = ["", r"\Seen", r"\Seen \Answered", r"\Flagged $Forwarded", r"$Label1 \Seen", "Wichtig $Label1", r"\Draft"][i % 7]
        box = ["INBOX"] * 3 + ["Listen." + utf7("Über uns"), utf7("A & B")]
        date = f'"{i % 28 + 1:02d}-Jan-2020 10:00:{i % 60:02d} +0100"'
        assert m.append('"' + box[i % 5] + '"', f"({flags})", date, office.message(f"no {i}", f"text {i}\r\n" * (i + 1)))[0] == "OK"
    m.select("INBOX")
    assert m.uid("STORE", "3:9", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK" and m.expunge()[0] == "OK"
    m.logout()
    # a delivery that nobody has opened, and one that only STATUS saw
    for i in (1, 2):
        name = os.path.join(o.dovecot.maildir, "new", f"{1600000000 + i}.M{i}.host")
        o.put(name, office.message(f"new {i}").replace(b"\r\n", b"\n"))
        m = o.dovecot.imap()
        m.status("INBOX", "(MESSAGES UIDNEXT)")
        m.logout()
    uidlist = os.path.join(o.dovecot.maildir, "dovecot-uidlist")
    with open(uidlist) as f:
        lines = f.read().splitlines()
    assert lines[0].startswith("3 V"), lines[0]
    lines[1] = re.sub(r"^(\d+) ", rf"\1 P{KEPT_UIDL} ", lines[1])
    o.put(uidlist, ("\n".join(lines) + "\n").encode())
    got = by_dovecot(o)
    assert got[3] > COUNT - 10 and got[0] == 0, got
    by_dovecot(o)  # \Recent is gone now
    assert by_dovecot(o) == (0, 0, 0, 0, 0, 0)
    o.before = snapshot(o.dovecot.imap())
    o.uidls = o.dovecot.uidls()
    assert KEPT_UIDL.encode() in o.uidls and len(o.uidls) > 20, o.uidls


def postamt_takes_over(o):
    o.restart()
    assert by_postamt(o) == (0, 0, 0, 0, 0, 0)
    compare(o.before, snapshot(o.imap()))
    p = o.pop3()
    assert [x.split()[1] for x in p.uidl()[1]] == o.uidls
    p.quit()


def changes(o):
    m = o.imap()
    m.select("INBOX")
    uids = m.uid("SEARCH", "ALL")[1][0].split()
    assert m.uid("STORE", uids[0], "+FLAGS", r"(\Flagged Neu $Forwarded)")[0] == "OK"
    assert m.uid("STORE", uids[3], "-FLAGS", r"(\Seen \Flagged $Forwarded $Label1)")[0] == "OK"
    assert m.uid("COPY", b",".join(uids[5:8]), "Listen")[0] == "OK"
    assert m.uid("STORE", uids[8], "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK" and m.expunge()[0] == "OK"
    m.append("Sent", r"(\Seen)", None, office.message("sent"))
    assert m.create(utf7('"Neu/Größe"'))[0] == "OK"
    m.logout()
    o.deliver(office.message("came meanwhile"))
    m = o.imap()
    m.select("INBOX")
    m.logout()
    got = by_postamt(o)
    assert got[0] == 0 and got[3] >= 5, got
    assert by_postamt(o) == (0, 0, 0, 0, 0, 0)


def back_to_dovecot(o):
    p = o.pop3()
    o.uidls = [x.split()[1] for x in p.uidl()[1]]
    p.quit()
    o.before = snapshot(o.imap())
    o.stop()
    uidlist = os.path.join(o.dovecot.maildir, "dovecot-uidlist")
    with open(uidlist) as f:
        old = f.read()
    assert "INBOX" in o.cli("mailbox", "export-dovecot", o.user(0), "--dry-run").stdout
    with open(uidlist) as f:
        assert f.read() == old
    o.cli("mailbox", "export-dovecot", o.user(0))
    assert by_dovecot(o) == (0, 0, 0, 0, 0, 0)
    compare(o.before, snapshot(o.dovecot.imap()))
    assert o.dovecot.uidls() == o.uidls


def and_here_again(o):
    m = o.dovecot.imap()
    m.append("INBOX", r"($Forwarded Spaet)", None, office.message("Dovecot had it"))
    m.append("Listen", None, None, office.message("Dovecot had it, too"))
    m.select("INBOX")
    assert m.uid("STORE", "1", "-FLAGS", r"($Forwarded)")[0] == "OK"
    m.logout()
    by_dovecot(o)
    by_dovecot(o)
    assert by_dovecot(o) == (0, 0, 0, 0, 0, 0)
    o.before = snapshot(o.dovecot.imap())
    o.restart()
    assert by_postamt(o) == (0, 0, 0, 0, 0, 0)
    compare(o.before, snapshot(o.imap()))
    assert o.cli("mailbox", "verify", o.user(0)).returncode == 0


if __name__ == "__main__":
    office.needs("mbsync", "script", "setpriv", IMAP, POP3)
    sys.exit(office.main([a_tree_of_dovecot, postamt_takes_over, changes, back_to_dovecot, and_here_again]))
