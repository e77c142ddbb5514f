#!/usr/bin/env python3
"""The disk is full: what cannot be kept is refused and says why, what can be done is done, and when there is room again it
goes on without a restart. mail, state, spool and all else lie on a small ext4 of their own (root; else skipped)."""
import imaplib
import os
import smtplib
import subprocess
import sys
import tempfile

import instance

SIZE = 64 << 20
FULL = "the server's disk is full; please try again later"


class Bad(Exception):
    pass


def mount(d):
    """An ext4 in a file, without blocks kept for root; None and why not."""
    image, where = os.path.join(d, "image"), os.path.join(d, "disk")
    os.mkdir(where)
    with open(image, "wb") as f:
        f.truncate(SIZE)
    for command in (["mkfs.ext4", "-q", "-m", "0", "-N", "8192", image], ["mount", "-o", "loop", image, where]):
        try:
            r = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            return None, f"{command[0]} is not installed"
        if r.returncode != 0:
            break
    else:
        return where, None
    # no loop devices: memory will do
    r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", where], capture_output=True, text=True,
                       timeout=60)
    return (where, None) if r.returncode == 0 else (None, f"nothing can be mounted here: {r.stderr.strip()}")


def fill(where):
    """Until not one octet more fits: whole blocks, then single ones in many small files."""
    with open(os.path.join(where, "filler"), "ab", buffering=0) as f:
        for piece in (1 << 20, 4096, 1):
            while True:
                try:
                    f.write(b"x" * piece)
                    os.fsync(f.fileno())
                except OSError:
                    break
    if os.statvfs(where).f_bavail:
        raise Bad(f"{os.statvfs(where).f_bavail} blocks are still free")


def text(token, size=300):
    return f"From: a@b.test\r\nSubject: {token}\r\n\r\n" + ("x" * 70 + "\r\n") * (size // 72 + 1)


def send(info, token, size=300):
    """(code, text) of the answer to the message."""
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=20) as s:
        s.ehlo()
        s.mail("a@b.test")
        s.rcpt(info["users"]["template"] % 0)
        code, said = s.data(text(token, size))
        if s.noop()[0] != 250:
            raise Bad("the SMTP session did not go on")
        return code, said.decode()


def login(info):
    m = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=20)
    m.login(info["users"]["template"] % 0, info["users"]["password"])
    return m


def append(m, token, size=300):
    typ, data = m.append("INBOX", r"(\Seen)", None, text(token, size).encode())
    return typ, data[0].decode()


def subjects(m):
    m.select("INBOX")
    return sorted(p[1].decode().split()[1] for p in m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
                  if isinstance(p, tuple))


def wants(what, got, *wanted):
    for w in wanted:
        if w not in str(got):
            raise Bad(f"{what}: {got}, without: {w}")


def run(where, info):
    m = login(info)
    for i in range(4):
        wants("APPEND", append(m, f"before-{i}"), "OK")
    wants("DATA", send(info, "before-mail"), "250")
    there = subjects(m)
    if len(there) != 5:
        raise Bad(f"before: {there}")

    fill(where)
    # more than what a block that is begun may still hold
    wants("DATA on a full disk", send(info, "refused-mail", 20000), "452", "4.3.1", FULL)
    wants("APPEND on a full disk", append(m, "refused", 20000), "NO", FULL)
    wants("a big APPEND on a full disk", append(m, "refused-big", 3 << 20), "NO", FULL)
    wants("NOOP after it: in step", m.noop(), "OK")
    fresh = login(info)  # a session that begins now
    if subjects(fresh) != there:
        raise Bad(f"reading on a full disk: {subjects(fresh)}")
    wants("FETCH", fresh.fetch("1", "(BODY[])")[1][0][1].decode(), "x" * 70)
    wants("STORE", fresh.store("1", "+FLAGS", r"(\Deleted)"), "OK")
    wants("EXPUNGE", fresh.expunge(), "OK", "1")
    first, there = there, subjects(m)
    if len(there) != 4 or not set(there) < set(first):
        raise Bad(f"after EXPUNGE: {there}")
    wants("CREATE on a full disk", create_many(fresh), "NO", FULL)
    wants("DELETE on a full disk", fresh.delete("Archive"), "OK")

    os.unlink(os.path.join(where, "filler"))
    wants("APPEND when there is room", append(m, "after", 20000), "OK")
    wants("APPEND when there is room", append(fresh, "after-too", 3 << 20), "OK")
    wants("DATA when there is room", send(info, "after-mail", 20000), "250")
    if subjects(m) != sorted(there + ["after", "after-too", "after-mail"]):
        raise Bad(f"afterwards: {subjects(m)}")
    m.logout()
    fresh.logout()


def create_many(m):
    """Folders until there is no room for another: EXPUNGE and what ext4 kept made some."""
    for i in range(200):
        typ, data = m.create(f"Full{i}")
        if typ != "OK":
            return typ, data
    return "OK", "200 times"


def main():
    if os.getuid() != 0:
        print("skipped: only root may mount")
        return 77
    with tempfile.TemporaryDirectory(prefix="postamt-full-") as d:
        os.chmod(d, 0o755)
        where, why = mount(d)
        if not where:
            print(f"skipped: {why}")
            return 77
        data, bad = os.path.join(where, "postamt"), None
        try:
            info = instance.start(data, users=1, hash_scheme="sha512crypt")
            pids = info["pids"]
            try:
                run(where, info)
                dead = [p for p in pids if not instance.alive(p)]
                if dead:
                    raise Bad(f"{len(dead)} processes ended")
            except Bad as e:
                bad = e
                print(f"{e}\n{instance.log_tail(data, 40)}")
            finally:
                instance.stop(data)
        finally:
            subprocess.run(["umount", where], check=True, timeout=60)
    print("full: refused with the reason; read and tidied; then it went on" if not bad else "failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
