#!/usr/bin/env python3
"""mutt without hands: over IMAP with SCRAM, and in the Maildir on disk while an IMAP session looks at the same folder."""
import os
import sys

import office


def mutt(o, folder, keys, *settings, owner=False, timeout=40):
    """Opens a folder, presses keys, quits. script(1) is the terminal mutt wants."""
    rc = os.path.join(o.home, "muttrc")
    with open(rc, "w") as f:
        f.write("\n".join((
            f'set imap_user="{o.user(0)}" imap_pass="{o.password}" certificate_file="{o.info["ca_file"]}"',
            "set ssl_usesystemcerts=no ssl_verify_host=yes ssl_force_tls=yes",
            f'set header_cache="" message_cachedir="" tmpdir="{o.home}" mbox_type=Maildir move=no delete=yes quit=yes',
            "set wait_key=no confirmappend=no confirmcreate=no mark_old=no beep=no maildir_trash=no sleep_time=0 timeout=1 mail_check=0",
            *settings, f'push "{keys}"')) + "\n")
    os.chmod(rc, 0o644)
    r = o.tool("script", "-qec", f"stty rows 40 cols 120; exec mutt -n -F {rc} -f '{folder}'", "/dev/null",
               timeout=timeout, owner=owner, env={"TERM": "xterm"}, stdin=office.subprocess.DEVNULL)
    return r.stdout.decode(errors="replace")


def flags(m, numbers="1:*"):
    """UID -> flags of the open folder, \\Recent left out."""
    import imaplib
    import re
    typ, data = m.uid("FETCH", numbers, "(FLAGS)")
    assert typ == "OK", data
    return {int(re.search(rb"UID (\d+)", x)[1]): {f.decode() for f in imaplib.ParseFlags(x)} - {r"\Recent"} for x in data if x}


def far(o, folder=""):
    return f"imaps://localhost:{o.port('imaps')}/{folder}"


def over_imap(o):
    """Flags one, answers none, copies one to another folder, deletes one, saves (moves) one."""
    texts = [office.message(f"mutt {i}", f"text {i}\r\n") for i in range(1, 6)]
    o.deliver(texts)
    m = o.imap(service="imap_plain")
    assert m.select("INBOX")[1] == [b"5"]
    said = mutt(o, far(o, "INBOX"),
                "<limit>all<enter>1<enter><flag-message>2<enter><copy-message>=Sent<enter>3<enter><delete-message>"
                "4<enter><save-message>=Archive<enter>5<enter><display-message><exit><quit>", f'set folder="{far(o)}"')
    m.noop()
    assert "SCRAM-SHA-256" in [x for x in o.log().splitlines() if " login " in x][-1], said
    got = flags(m)
    assert set(got) == {1, 2, 5}, (got, said)
    assert got[1] == {r"\Flagged"} and r"\Seen" in got[5], got
    m.logout()
    assert len(o.texts(0, "Sent")) == 1 and o.texts(0, "Sent")[0].endswith(texts[1]), o.files(0, "Sent")
    assert len(o.texts(0, "Archive")) == 1 and o.texts(0, "Archive")[0].endswith(texts[3]), o.files(0, "Archive")
    assert not [x for x in o.texts() if x.endswith(texts[2])]


def session_while_mutt_works(o):
    """mutt changes names in the Maildir; the open IMAP session is told."""
    m = o.imap(service="imap_plain")
    m.select("INBOX")
    before = flags(m)
    assert set(before) == {1, 2, 5}, before
    # sorted by subject: what is 1, 2, 3 to mutt are UIDs 1, 2, 5; toggle-new moves a file from cur/ to new/
    mutt(o, o.maildir(), "1<enter><flag-message>2<enter><flag-message>2<enter><toggle-new>3<enter><delete-message><quit>",
         "set sort=subject", owner=True)

    def seen():
        m.noop()
        got = flags(m)
        return got if set(got) == {1, 2} else None
    got = office.wait_for(seen)
    assert got, f"the session still sees {flags(m)}"
    assert got[1] == before[1] ^ {r"\Flagged"} and got[2] == {r"\Flagged"}, (before, got)
    m.logout()


def mutt_after_session(o):
    """What a session changes, mutt finds: it copies the flagged ones and deletes the deleted."""
    o.deliver([office.message(f"again {i}", f"text {i}\r\n") for i in range(1, 4)])
    m = o.imap()
    m.select("INBOX")
    assert m.store("3,5", "+FLAGS", r"(\Flagged $Forwarded)")[0] == "OK"
    assert m.store("1:2", "-FLAGS", r"(\Flagged)")[0] == "OK"
    assert m.store("4", "+FLAGS", r"(\Answered)")[0] == "OK"
    target = os.path.join(o.home, "flagged")
    mutt(o, o.maildir(), f"<tag-pattern>~F<enter><tag-prefix><copy-message>{target}<enter><untag-pattern>.<enter>"
         "<delete-pattern>~Q<enter><quit>", owner=True)
    got = sorted(x.split(b"\nSubject: ", 1)[1].split(b"\n", 1)[0].strip()
                 for x in (open(os.path.join(target, w, f), "rb").read() for w in ("cur", "new") for f in os.listdir(os.path.join(target, w))))
    assert got == [b"again 1", b"again 3"], got

    def seen():
        m.noop()
        got = flags(m)
        return got if len(got) == 4 else None
    got = office.wait_for(seen)
    assert got and sorted(map(sorted, got.values()), key=len)[-2:] == [["$Forwarded", r"\Flagged"]] * 2, flags(m)
    m.logout()


def the_same_after_all(o):
    """UIDs that mutt's renames went over are those from before, in a new session and without the index."""
    m = o.imap()
    m.select("INBOX")
    before = flags(m), m.response("UIDVALIDITY")
    m.logout()
    o.stop()
    office.shutil.rmtree(os.path.join(o.office, "state"))
    o.restart()
    m = o.imap()
    m.select("INBOX")
    assert (flags(m), m.response("UIDVALIDITY")) == before, (flags(m), before)
    m.logout()


if __name__ == "__main__":
    office.needs("mutt", "script")
    sys.exit(office.main([over_imap, session_while_mutt_works, mutt_after_session, the_same_after_all]))
