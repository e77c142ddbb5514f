#!/usr/bin/env python3
"""postamt mailbox: mbox files and Maildirs in and out, broken off and repeated; verify and repair; the daemons run."""
import json
import mailbox
import os
import re
import shutil
import signal
import subprocess
import sys

import instance
import office

DIFFICULT = [
    # header extra, body, flags of the mbox
    ("", "plain\n", "Status: RO\n"),
    ("", "From here on nothing is easy\n\nFrom there neither\n>From quoted\n>>From twice\n", "Status: O\nX-Status: AF\n"),
    ("", "\n\n\nempty lines around\n\n\n", "Status: RO\nX-Keywords: $Label1 Wichtig\n"),
    ("X-Long: " + "x" * 20000 + "\n", "y" * 30000 + "\n", ""),
    ("", "8 bit: Größe, Straße \N{SNOWMAN}\n", "X-Mozilla-Status: 1001\nX-Mozilla-Status2: 00000000\n"),
    ("Content-Type: message/rfc822\n", "From: x\nSubject: inner\n\nFrom a@b Wed Jun 30 21:49:08 1993x\n", ""),
]


def raw(i, extra, body):
    return (f"From: a@example.org\nSubject: difficult {i}\nMessage-ID: <{i}.d@example.org>\n{extra}\n{body}").encode()


def mbox_of(messages):
    """mboxrd, as another program would write it."""
    out = b""
    for i, (extra, body, flags) in enumerate(messages):
        header, text = raw(i, extra, body).split(b"\n\n", 1)
        text = re.sub(rb"^(>*From )", rb">\1", text, flags=re.M)
        out += f"From a@example.org Wed Jun {i % 28 + 1:2d} 21:49:08 2011\n".encode() + header + b"\n" + flags.encode()
        out += b"\n" + text + b"\n"
    return out


def look(o, box, n=0):
    """Subject -> (flags, INTERNALDATE, text)."""
    m = o.imap(n)
    assert m.select(f'"{box}"', readonly=True)[0] == "OK", box
    out = {}
    for item in m.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if isinstance(item, tuple):
            subject = re.search(rb"^Subject: ([^\r]+)", item[1], re.M)[1].decode()
            assert subject not in out, f"{subject} is there twice"
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", item[0])[1].split()) - {b"\\Recent"}
            out[subject] = flags, re.search(rb'DATE "([^"]+)"', item[0])[1].strip(), item[1]
    m.logout()
    return out


def an_mbox_comes_in(o):
    source = os.path.join(o.home, "difficult.mbox")
    with open(source, "wb") as f:
        f.write(mbox_of(DIFFICULT))
    said = json.loads(o.cli("mailbox", "import", o.user(), "Alt/Größe", source, "--json").stdout)
    assert said["messages"] == len(DIFFICULT) and said["were_there"] == 0, said
    got = look(o, "Alt/Gr&APYA3w-e")
    assert len(got) == len(DIFFICULT)
    for i, (extra, body, _) in enumerate(DIFFICULT):
        assert got[f"difficult {i}"][2] == raw(i, extra, body).replace(b"\n", b"\r\n"), i
        assert got[f"difficult {i}"][1] == f"{i + 1}-Jun-2011 21:49:08 +0000".encode(), got[f"difficult {i}"][1]
    flags = [got[f"difficult {i}"][0] for i in range(len(DIFFICULT))]
    assert flags[:3] == [{b"\\Seen"}, {b"\\Answered", b"\\Flagged"}, {b"\\Seen", b"$Label1", b"Wichtig"}], flags
    assert flags[4] == {b"\\Seen", b"$Forwarded"}, flags
    # once more: everything is there; by standard input, too
    said = json.loads(o.cli("mailbox", "import", o.user(), "Alt/Größe", source, "--json").stdout)
    assert said["messages"] == 0 and said["were_there"] == len(DIFFICULT), said
    with open(source, encoding="utf-8") as f:
        said = json.loads(o.cli("mailbox", "import", o.user(), "Alt/Größe", "-", "--json", stdin=f.read()).stdout)
    assert said["were_there"] == len(DIFFICULT), said
    assert len(look(o, "Alt/Gr&APYA3w-e")) == len(DIFFICULT)
    r = o.cli("mailbox", "import", o.user(), "INBOX", "/etc/passwd", check=False)
    assert r.returncode == 65 and "mbox" in r.stderr, r
    assert not o.files()


def and_goes_out(o):
    for kind in ("out.mbox", "out"):
        path = os.path.join(o.home, kind)
        o.cli("mailbox", "export", o.user(), path, "Alt/Größe")
        box = mailbox.mbox(path) if kind == "out.mbox" else mailbox.Maildir(path)
        texts = {}
        for key in box.keys():
            texts[box[key]["Subject"]] = box.get_bytes(key)
        assert len(texts) == len(DIFFICULT), texts.keys()
        # back in, elsewhere: the same messages with the same flags and dates
        o.cli("mailbox", "import", o.user(), "Zurück/" + kind, path)
        got, before = look(o, "Zur&APw-ck/" + kind), look(o, "Alt/Gr&APYA3w-e")
        for subject in before:
            flags, date, text = before[subject]
            assert got[subject] == (flags, date, text), (kind, subject, got[subject][:2], flags, date)
    r = o.cli("mailbox", "export", o.user(), os.path.join(o.home, "out.mbox"), "INBOX", check=False)
    assert r.returncode == 73, r
    # all of it, twice: the second run has nothing to do
    path = os.path.join(o.home, "all")
    first, second = (json.loads(o.cli("mailbox", "export", o.user(), path, "--json").stdout) for _ in range(2))
    assert first["messages"] == 3 * len(DIFFICULT) and second["messages"] == 0, (first, second)
    assert second["were_there"] == 3 * len(DIFFICULT), second
    assert os.path.isdir(path + "/.Alt.Gr&APYA3w-e/cur")


def killed_and_repeated(o):
    """kill -9 again and again in the middle of an import: at the end every message is there once."""
    count = 800
    source = os.path.join(o.home, "many.mbox")
    with open(source, "wb") as f:
        f.write(mbox_of([("", f"text {i}\n" * 20, "") for i in range(count)]))
    command = [os.path.join(o.office, "prog", "postamt"), "mailbox", "import", o.user(1), "INBOX", source, "--config",
               os.path.join(o.office, "postamt.conf")]
    kills, delay = 0, 0.1
    for _ in range(5):
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             **instance.as_nobody())
        try:
            p.wait(delay)
            break
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills += 1
            delay += 0.05
    assert kills >= 1, "it was never broken off"
    some = len(o.files(1))
    said = json.loads(o.cli("mailbox", "import", o.user(1), "INBOX", source, "--json").stdout)
    assert said["messages"] + said["were_there"] == count and said["were_there"] == some, (said, some)
    m = o.imap(1)
    assert m.select("INBOX")[1] == [str(count).encode()]
    subjects = {re.search(rb"Subject: (.+)\r", x[1])[1] for x in m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
                if isinstance(x, tuple)}
    m.logout()
    assert len(subjects) == count


def quota_is_respected(o):
    source = os.path.join(o.home, "big.mbox")
    with open(source, "wb") as f:
        f.write(mbox_of([("", office.lines(100000, i).decode().replace("\r\n", "\n"), "") for i in range(20)]))
    o.cli("account", "add", "small@example.test", "--quota", "1M", stdin=o.password + "\n")
    r = o.cli("mailbox", "import", "small@example.test", "INBOX", source, check=False)
    assert r.returncode == 65 and "room" in r.stderr, r
    inbox = json.loads(o.cli("mailbox", "list", "small@example.test", "--json").stdout.splitlines()[0])
    assert 900000 < inbox["used"] <= 1 << 20 and inbox["messages"] == inbox["used"] // 100000, inbox
    r = o.cli("mailbox", "import", "small@example.test", "INBOX", source, check=False)
    assert r.returncode == 65, r


def a_maildir_comes_in(o):
    """Copies of this very server's Maildir: known by their names."""
    source = os.path.join(o.home, "copy")
    shutil.copytree(o.maildir(), source)
    for folder, _, files in os.walk(source):
        for name in [folder] + [os.path.join(folder, x) for x in files]:
            if os.getuid() == 0:
                os.chown(name, instance.NOBODY, instance.NOBODY)
    before = {box: look(o, box) for box in ("Alt/Gr&APYA3w-e", "Zur&APw-ck/out")}
    said = json.loads(o.cli("mailbox", "import", o.user(2), "INBOX", source, "--json").stdout)
    assert said["messages"] == 3 * len(DIFFICULT), said
    for box, messages in before.items():
        assert look(o, box, 2) == messages, box
    said = json.loads(o.cli("mailbox", "import", o.user(2), "INBOX", source, "--json").stdout)
    assert said["messages"] == 0 and said["were_there"] == 3 * len(DIFFICULT), said
    listed = [json.loads(x) for x in o.cli("mailbox", "list", o.user(2), "--json").stdout.splitlines()]
    assert {x["mailbox"]: x["messages"] for x in listed}["Alt/Größe"] == len(DIFFICULT), listed


def boxes(o):
    o.cli("mailbox", "create", o.user(2), "Neu/Eins")
    assert o.cli("mailbox", "create", o.user(2), "Neu/Eins", check=False).returncode == 73
    o.cli("mailbox", "rename", o.user(2), "Neu", "Ganz neu")
    assert "Ganz neu/Eins" in o.cli("mailbox", "list", o.user(2)).stdout
    assert o.cli("mailbox", "delete", o.user(2), "Ganz neu/Eins", check=False).returncode == 64
    o.cli("mailbox", "delete", o.user(2), "Ganz neu/Eins", "--yes")
    assert "Ganz neu/Eins" not in o.cli("mailbox", "list", o.user(2)).stdout


def verify_and_repair(o):
    n = 2
    assert o.cli("mailbox", "verify", o.user(n)).returncode == 0
    box = o.maildir(n, "Alt.Gr&APYA3w-e")
    good = sorted(o.files(n, "Alt.Gr&APYA3w-e"))
    # sizes that are wrong, in cur/ and in new/; an empty file; what is no message; a UID twice; a file from nowhere
    wrong = re.sub(r",S=\d+", ",S=7", good[0])
    os.rename(good[0], wrong)
    o.put(os.path.join(box, "new", "1.short.host,S=100"), b"S: x\r\n")
    o.put(os.path.join(box, "new", "2.empty.host"), b"")
    os.symlink("/etc/passwd", os.path.join(box, "cur", "link"))
    twice = re.search(r",U=[^:]+", good[1])[0]
    o.put(os.path.join(box, "cur", f"3.twice.host{twice}:2,"), b"S: y\r\n\r\n")
    old = os.path.join(box, "tmp", "4.left.host")
    o.put(old, b"x")
    r = o.cli("mailbox", "verify", o.user(n), "--json", check=False)
    found = [json.loads(x) for x in r.stdout.splitlines()]
    assert r.returncode == 1 and len(found) == 5, found
    assert {x["file"].split(",")[0] for x in found} == {os.path.basename(wrong).split(",")[0], "1.short.host",
                                                       "2.empty.host", "link", ""}, found
    assert "would be repaired" in o.cli("mailbox", "repair", o.user(n), "--dry-run").stdout
    assert os.path.exists(wrong)
    assert o.cli("mailbox", "repair", o.user(n), check=False).returncode == 2  # the link stays
    lost = sorted(os.listdir(os.path.join(os.path.dirname(o.maildir(n).rstrip("/")), "lost+found")))
    assert lost == ["1.short.host,S=100", "2.empty.host"], lost
    os.unlink(os.path.join(box, "cur", "link"))
    o.expect_log("store-odd")
    assert o.cli("mailbox", "verify", o.user(n)).returncode == 0, o.cli("mailbox", "verify", o.user(n), check=False).stdout
    m = o.imap(n)
    assert m.select('"Alt/Gr&APYA3w-e"', readonly=True)[1] == [str(len(DIFFICULT) + 1).encode()]
    uids = m.uid("SEARCH", "ALL")[1][0].split()
    assert len(set(uids)) == len(uids), uids
    m.logout()


if __name__ == "__main__":
    sys.exit(office.main([an_mbox_comes_in, and_goes_out, killed_and_repeated, quota_is_respected, a_maildir_comes_in,
                          boxes, verify_and_repair], users=3))
