#!/usr/bin/env python3
"""Two-way synchronisation of 500 messages with mbsync: a second run finds nothing to do, and changes travel both ways."""
import email
import glob
import os
import re
import shutil
import subprocess
import sys

import office

COUNT = 500
FLAGS = {r"\Seen": "S", r"\Answered": "R", r"\Flagged": "F", r"\Draft": "D"}  # as mbsync's maildir has them


def config(o):
    name = os.path.join(o.home, "mbsyncrc")
    with open(name, "w") as f:
        f.write(f"""
IMAPStore far
Host localhost
Port {o.port('imaps')}
User {o.user(0)}
Pass {o.password}
SSLType IMAPS
CertificateFile {o.info['ca_file']}
SystemCertificates no
AuthMechs LOGIN

MaildirStore near
Path {o.home}/near/
Inbox {o.home}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    return name


def sync(o):
    """Runs mbsync; returns its report as {"far": (new, flags, trashed or expunged), "near": ..}."""
    os.makedirs(os.path.join(o.home, "near"), exist_ok=True)
    # it counts only on a terminal; "script" gives it one
    r = o.tool("script", "-qec", f"mbsync -c {config(o)} -a", "/dev/null", timeout=100, stdin=subprocess.DEVNULL)
    said = r.stdout.decode()
    assert "arning" not in said and "rror" not in said, said
    m = re.findall(r"F: \+(\d+)/(\d+) \*(\d+)/(\d+) #(\d+)/(\d+)\s+N: \+(\d+)/(\d+) \*(\d+)/(\d+) #(\d+)/(\d+)", said)
    assert m, said
    got = [int(x) for x in m[-1]]
    assert got[0::2] == got[1::2], f"not all was done: {said}"
    return {"far": tuple(got[0:6:2]), "near": tuple(got[6::2])}


def near(o, folder="INBOX"):
    """Subject -> letters of the near side, trashed ones left out."""
    out = {}
    for name in glob.glob(os.path.join(o.home, "near", folder, "[cn][ue][rw]", "*")):
        with open(name, "rb") as f:
            subject = email.message_from_binary_file(f)["Subject"]
        letters = name.rsplit(":2,", 1)[1] if ":2," in name else ""
        assert subject not in out, f"{subject} is there twice"
        out[subject] = "".join(sorted(letters))
    return out


def far(o, folder="INBOX"):
    m = o.imap(0)
    try:
        assert m.select(folder, readonly=True)[0] == "OK"
        if m.response("EXISTS")[1] == [b"0"] or not m.search(None, "ALL")[1][0]:
            return {}
        out = {}
        _, data = m.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for item in data:
            if isinstance(item, tuple):
                subject = item[1].decode().strip().removeprefix("Subject: ")
                assert subject not in out, f"{subject} is there twice"
                out[subject] = "".join(sorted(c for flag, c in FLAGS.items() if flag.encode() in item[0]))
        return out
    finally:
        m.logout()


def near_file(o, subject, folder="INBOX"):
    for name in glob.glob(os.path.join(o.home, "near", folder, "[cn][ue][rw]", "*")):
        with open(name, "rb") as f:
            if email.message_from_binary_file(f)["Subject"] == subject:
                return name
    raise AssertionError(f"{subject} is not there")


def set_flags(name, letters):
    folder, base = os.path.split(name)
    new = os.path.join(os.path.dirname(folder), "cur", base.rsplit(":2,", 1)[0] + ":2," + letters)
    os.rename(name, new)


def nothing_to_do(o):
    before = near(o), far(o), sorted(o.files())
    got = sync(o)
    assert got == {"far": (0, 0, 0), "near": (0, 0, 0)}, got
    assert before == (near(o), far(o), sorted(o.files())), "a run with nothing to do changed something"
    assert before[0] == before[1], set(before[0].items()) ^ set(before[1].items())


def first_run(o):
    o.deliver([office.message(f"far {i}", f"text {i}\r\n" * (i % 40 + 1)) for i in range(COUNT)])
    m = o.imap()
    m.select("INBOX")
    assert m.store("1:100", "+FLAGS.SILENT", r"(\Seen)")[0] == "OK"
    assert m.store("50:60", "+FLAGS.SILENT", r"(\Flagged \Answered)")[0] == "OK"
    m.create("Projekte")
    m.append("Projekte", r"(\Draft)", None, office.message("far in a folder"))
    m.logout()
    got = sync(o)
    assert got["near"][0] == COUNT + 1 and got["far"] == (0, 0, 0), got
    assert len(near(o)) == COUNT
    assert near(o) == far(o)
    assert near(o, "Projekte") == {"far in a folder": "D"} == far(o, "Projekte")
    sizes = {len(x.split(b"\r\n\r\n", 1)[1]) for x in o.texts()}
    with open(near_file(o, "far 39"), "rb") as f:
        text = f.read()
    assert len(text.replace(b"\n", b"\r\n").split(b"\r\n\r\n", 1)[1]) in sizes and text.count(b"text 39\n") == 40, text


def changes_on_both_sides(o):
    # near: a new message, flags, a deletion, a new folder
    with open(os.path.join(o.home, "near", "INBOX", "cur", "1.near:2,FS"), "wb") as f:
        f.write(office.message("near new").replace(b"\r\n", b"\n"))
    set_flags(near_file(o, "far 200"), "RS")
    set_flags(near_file(o, "far 201"), "ST")
    for w in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(o.home, "near", "Vom Laptop", w))
    # far: two new ones, flags, deletions
    o.deliver([office.message("far new"), office.message("far newer")])
    m = o.imap()
    m.select("INBOX")
    assert m.store("300:309", "+FLAGS.SILENT", r"(\Flagged)")[0] == "OK"
    assert m.store("1:5", "-FLAGS.SILENT", r"(\Seen)")[0] == "OK"
    assert m.store("400:402", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
    assert m.expunge()[0] == "OK"
    m.logout()
    got = sync(o)
    assert got["far"][0] == 1 and got["near"][0] == 2, got
    assert near(o) == far(o)
    n = near(o)
    assert len(n) == COUNT + 3 - 4, len(n)
    assert n["near new"] == "FS" and n["far 200"] == "RS" and "far 201" not in n and n["far newer"] == "", n
    assert [x for x in n if x.startswith("far 4")] and sum(1 for x in n.values() if x == "F") == 10
    assert far(o, '"Vom Laptop"') == {}


def in_folders(o):
    m = o.imap()
    m.select("Projekte")
    m.store("1", "+FLAGS", r"(\Deleted)")
    m.close()
    m.append('"Vom Laptop"', None, None, office.message("into it"))
    m.logout()
    got = sync(o)
    assert near(o, "Projekte") == {} and near(o, "Vom Laptop") == {"into it": ""}, got


def after_a_lost_index(o):
    """The server's index is gone: UIDs stay, so mbsync finds nothing to do."""
    o.stop()
    shutil.rmtree(os.path.join(o.office, "state"))
    o.restart()
    nothing_to_do(o)


if __name__ == "__main__":
    office.needs("mbsync", "script")

    def second_run(o):
        nothing_to_do(o)

    def third_run(o):
        nothing_to_do(o)

    sys.exit(office.main([first_run, second_run, changes_on_both_sides, third_run, in_folders, after_a_lost_index]))
