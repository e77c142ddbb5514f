#!/usr/bin/env python3
"""Every process of a running instance is fenced: no new privileges, a system call filter, no core files, no more open
files than its own; workers too. As the kernel shows it in /proc. Then once more where Landlock is of ABI 2, as on Debian
12: there the filter has other rows, and mail comes in, is moved, read and removed behind it as well."""
import imaplib
import os
import poplib
import smtplib
import sys
import tempfile

import instance

SANITIZED = "-fsanitize=address" in open(os.path.join(instance.BUILD, "Makefile")).read()


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def role_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        words = f.read().decode().split("\0")
    return words[words.index("--role") + 1] if "--role" in words else "postamtd"


def is_forked(pid, pids):
    """A worker has the command line of its spawner and is its child."""
    parent = int(status_of(pid)["PPid"])
    return parent in pids and role_of(parent) == role_of(pid)


def check_processes(d, info):
    """What is not fenced."""
    user, password = info["users"]["template"] % 0, info["users"]["password"]
    imap = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=20)
    imap.login(user, password)
    pop3 = poplib.POP3(info["host"], info["ports"]["pop3_plain"], timeout=20)
    pop3.user(user)
    pop3.pass_(password)
    pids = instance.descendants(info["pid"])
    seen, bad = set(), []
    for pid in pids:
        role = role_of(pid)
        if role == "postamtd":
            continue
        name = role.replace("spawner", "worker") if is_forked(pid, pids) else role
        seen.add(name)
        st = status_of(pid)
        wanted = {"NoNewPrivs": "1"}
        if not SANITIZED:
            wanted["Seccomp"] = "2"
        for key, value in wanted.items():
            if st[key] != value:
                bad.append(f"{name}: {key} is {st[key]}, not {value}")
        with open(f"/proc/{pid}/limits") as f:
            core = [line.split()[4:6] for line in f if line.startswith("Max core file size")]
        if core != [["0", "0"]]:
            bad.append(f"{name}: may write core files")
    roles = {"authd", "queued", "sender", "resolverd", "fetchd"} | {f"{x}.{y}" for x in ("smtpd", "imapd", "pop3d") for y in ("parent", "front")} | {
        "smtpd.deliver", "imapd.spawner", "pop3d.spawner", "imapd.worker", "pop3d.worker"}
    if seen != roles:
        bad.append(f"seen {sorted(seen)}, expected {sorted(roles)}")
    imap.logout()
    pop3.quit()
    return bad, len(pids) - 1


def check_work(info):
    """Every kind of file that is made, moved, replaced and removed for a client."""
    user, password = info["users"]["template"] % 0, info["users"]["password"]
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=20) as s:
        s.sendmail("a@elsewhere.test", [user], "Subject: in\r\n\r\nx\r\n")
    with imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=20) as m:
        def ok(answer):
            assert answer[0] == "OK", answer
            return answer[1]

        ok(m.login(user, password))
        ok(m.create("Box/Below"))
        ok(m.append("Box/Below", r"(\Seen word)", None, b"Subject: kept\r\n\r\ny\r\n"))
        ok(m.subscribe("Box/Below"))
        ok(m.select("INBOX"))
        assert b"Subject: in" in ok(m.fetch("1", "(BODY[])"))[0][1]
        ok(m.store("1", "+FLAGS", "(word two)"))
        ok(m.copy("1", "Box/Below"))
        ok(m.store("1", "+FLAGS", r"(\Deleted)"))
        ok(m.expunge())
        ok(m.rename("Box/Below", "Other"))
        assert ok(m.select("Other")) == [b"2"]
        assert sorted(ok(m.search(None, "KEYWORD", "word"))[0].split()) == [b"1", b"2"]
        ok(m.close())
        ok(m.delete("Other"))
    p = poplib.POP3(info["host"], info["ports"]["pop3_plain"], timeout=20)
    p.user(user)
    p.pass_(password)
    assert p.stat()[0] == 0
    p.quit()


def main():
    bad = []
    for abi in ("", "2"):
        if abi:
            os.environ["POSTAMT_LANDLOCK_ABI"] = abi
        with tempfile.TemporaryDirectory(prefix="postamt-sandboxed-") as d:
            os.chmod(d, 0o755)
            info = instance.start(d, users=1, hash_scheme="sha512crypt")
            try:
                found, n = check_processes(d, info)
                check_work(info)
                # the directory is read anew, its environment recovered
                info = instance.restart(d)
                check_work(info)
            finally:
                instance.stop(d)
            with open(os.path.join(d, "log"), errors="replace") as f:
                found += [line for line in f if "refused_call=" in line]
            bad += [f"ABI {abi or 'of the kernel'}: {x}" for x in found]
    print("\n".join(bad) or f"{n} processes are fenced and do their work, with Landlock of ABI 2 too")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
