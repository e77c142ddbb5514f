#!/usr/bin/env python3
"""Every process of a running instance is fenced: no new privileges, a system call filter, no core files, no more open
files than its own; workers too. As the kernel shows it in /proc."""
import imaplib
import os
import poplib
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


def main():
    with tempfile.TemporaryDirectory(prefix="postamt-sandboxed-") as d:
        os.chmod(d, 0o755)
        info = instance.start(d, users=1, hash_scheme="sha512crypt")
        try:
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
            roles = {"authd"} | {f"{x}.{y}" for x in ("smtpd", "imapd", "pop3d") for y in ("parent", "front")} | {
                "smtpd.deliver", "imapd.spawner", "pop3d.spawner", "imapd.worker", "pop3d.worker"}
            if seen != roles:
                bad.append(f"seen {sorted(seen)}, expected {sorted(roles)}")
            print("\n".join(bad) or f"{len(pids) - 1} processes of {len(seen)} roles are fenced")
            return 1 if bad else 0
        finally:
            instance.stop(d)


if __name__ == "__main__":
    sys.exit(main())
