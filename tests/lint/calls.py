#!/usr/bin/env python3
"""Which system calls that the sandbox allows does no process of ours make?

calls.py     (root, strace; skipped otherwise)

Runs strace on every process of an instance, lets clients send, read, change and
tidy, reloads, stops, and compares what was called with the groups of common/sandbox_calls.c: a call that no role with the
group ever made is a finding, unless the comment above them says why it stays.
"""
import collections
import imaplib
import json
import os
import poplib
import re
import signal
import smtplib
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
import instance  # noqa: E402
import strace  # noqa: E402


def read(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


def groups():
    """group -> calls"""
    found = {}
    for name, body in re.findall(r"\{CALLS_(\w+),\s*\{(.*?)\}\s*\}", read("common", "sandbox_calls.c"), re.S):
        found[name] = re.findall(r"SCMP_SYS\((\w+)\)", body)
    return found


def stays():
    """The calls that the comment above the groups gives a reason for."""
    note = re.search(r"tests/lint/calls\.py(.*?)\*/", read("common", "sandbox_calls.c"), re.S)[1]
    return set(re.findall(r"\w+", " ".join(re.findall(r"^ \* ([\w, ]+):", note, re.M))))


def rows():
    """role as the sandbox names it -> its groups"""
    found = {}
    for name, calls in re.findall(r'\.name = "([a-z0-9.]+)",\s*\.calls = ([A-Z_| \n]+)', read("common", "sandbox.c")):
        found[name] = re.findall(r"CALLS_(\w+)", calls)
    return found


def role_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().decode().split("\0")
        return words[words.index("--role") + 1]
    except (OSError, ValueError):
        return None


class Watch:
    """strace -f on postamtd: then each role is killed once, so that it is seen from its start. What counts is what comes
    after the filter stands; a worker is what a spawner forked, from the moment it has a filter of its own."""

    def __init__(self, info, d):
        self.info, self.out = info, os.path.join(d, "trace")
        old = {p for p in instance.descendants(info["pid"]) if role_of(p)}
        self.child = subprocess.Popen(["strace", "-f", "-qq", "-s", "0", "-o", self.out, "-p", str(info["pid"])],
                                      stderr=subprocess.DEVNULL)
        time.sleep(1)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while True:
            r = instance.cli(d, "status", "--json", check=False)
            if r.returncode == 0 and all(x["ready"] and x["restarts"] for x in json.loads(r.stdout)["roles"]):
                break
            if time.monotonic() > deadline:
                raise SystemExit("the roles did not come back under strace")
            time.sleep(0.1)
        self.roles = {p: role_of(p) for p in instance.descendants(info["pid"]) if role_of(p)}

    def end(self):
        self.child.wait(20)
        used, of, filters = collections.defaultdict(set), dict(self.roles), collections.Counter()
        with open(self.out, errors="replace") as f:
            for line in f:
                m = re.match(r"(\d+)\s+(<\.\.\. )?(\w+)", line)
                if not m:
                    continue
                pid, call = int(m[1]), m[3]
                made = re.search(r"\b(?:clone3?|v?fork)\b.*= (\d+)$", line)
                if made and pid in of and int(made[1]) not in of:
                    child = int(made[1])
                    of[child] = of[pid]
                    filters[child] = filters[pid]
                if pid not in of:
                    continue
                # what began before the filter stood is not the filter's
                if filters[pid] and not m[2]:
                    is_worker = of[pid].endswith(".spawner") and filters[pid] > 1
                    used[of[pid].replace("spawner", "worker") if is_worker else of[pid]].add(call)
                if call == "prctl" and "PR_SET_SECCOMP" in line and not m[2]:
                    filters[pid] += 1
        return used


def work(info, d):
    user, password = info["users"]["template"] % 0, info["users"]["password"]
    for size in (100, 3 << 20):
        with smtplib.SMTP(info["host"], info["ports"]["submission"], timeout=20) as s:
            s.starttls()
            s.login(user, password)
            s.sendmail(user, [user], "Subject: a\r\n\r\n" + "x\r\n" * (size // 3))
    with imaplib.IMAP4(info["host"], info["ports"]["imap"], timeout=20) as m:
        m.starttls()
        m.login(user, password)
        m.create("Box")
        m.append("Box", r"(\Seen word)", '"01-Jan-2024 00:00:00 +0000"', b"Subject: b\r\n\r\nx\r\n")
        m.select("INBOX")
        m.fetch("1:*", "(FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
        m.search(None, "TEXT", "x")
        m.copy("1", "Box")
        m.store("1", "+FLAGS", r"(\Deleted)")
        m.expunge()
        m.rename("Box", "Box2")
        m.subscribe("Box2")
        m.delete("Box2")
    p = poplib.POP3(info["host"], info["ports"]["pop3_plain"], timeout=20)
    p.user(user)
    p.pass_(password)
    p.retr(1)
    p.dele(1)
    p.quit()
    instance.cli(d, "account", "add", "later@" + info["domain"], stdin=password + "\n")
    instance.cli(d, "account", "remove", "later@" + info["domain"], check=False)
    instance.reload(d)


def main():
    why = strace.missing()
    if why:
        print(f"skipped: {why}")
        return 77
    with tempfile.TemporaryDirectory(prefix="postamt-used-") as d:
        os.chmod(d, 0o755)
        info = instance.start(d, users=1, hash_scheme="sha512crypt", extra="delivers = 1; worker_linger = \"1s\";")
        try:
            watch = Watch(info, d)
            work(info, d)
            time.sleep(2)
        finally:
            instance.stop(d)
        used = watch.end()
    allowed, of_role, kept, bad = groups(), rows(), stays(), []
    for group, calls in sorted(allowed.items()):
        roles = [r for r, g in of_role.items() if group in g]
        made = set().union(*(used[r] for r in roles))
        bad += [f"{group}: {call}: none of {', '.join(roles)} makes it" for call in calls
                if call not in made and call not in kept]
    print("\n".join(bad))
    print(f"{sum(len(x) for x in used.values())} calls of {len(used)} roles seen, {len(bad)} allowed ones never made")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
