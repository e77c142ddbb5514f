#!/usr/bin/env python3
"""Half a day of mixed load in minutes: soak.py [COMMANDS [MESSAGES]]     (default 500000 100000; `make soak`)

SMTP clients send, IMAP and POP3 clients log in, read, flag, append, copy, delete and leave. Memory and open files of every
role are sampled; after the first third (warm-up) they must stay flat: the mean of the last third at most 5 % and 1 MiB above
that of the second, descriptors at most 3 more.
"""
import multiprocessing
import os
import poplib
import random
import socket
import sys
import tempfile
import time

import instance

SMTP_CLIENTS, POP3_CLIENTS = 3, 1
USERS = 4  # each with an IMAP client that keeps his INBOX small
BATCH = 50  # commands sent at once: the load is the server's, not ours


def smtp_client(info, number, messages, count):
    """Batches of pipelined transactions (RFC 2920)."""
    rng = random.Random(number)
    sent = 0
    while sent < messages:
        s = socket.create_connection((info["host"], info["ports"]["smtp"]), 30)
        f = s.makefile("rwb")
        f.readline()
        f.write(b"EHLO soak.test\r\n")
        f.flush()
        while f.readline()[3:4] == b"-":
            pass
        for _ in range(min(200, messages - sent)):
            user = info["users"]["template"] % rng.randrange(USERS)
            body = b"Subject: soak\r\n\r\n" + (b"x" * 70 + b"\r\n") * rng.randrange(1, 60) + b".\r\n"
            f.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<" + user.encode() + b">\r\nDATA\r\n")
            f.flush()
            answers = [f.readline() for _ in range(3)]
            f.write(body)
            f.flush()
            answers.append(f.readline())
            assert [a[:3] for a in answers] == [b"250", b"250", b"354", b"250"], answers
            sent += 1
            with count.get_lock():
                count.value += 1
        f.write(b"QUIT\r\n")
        f.flush()
        s.close()


def imap_batch(f, lines):
    for i, line in enumerate(lines):
        f.write(b"t%d " % i + line + b"\r\n")
    f.flush()
    last = b"t%d " % (len(lines) - 1)
    while True:
        got = f.readline()
        assert got, "the server closed"
        if got.startswith(b"t"):
            assert b" BAD" not in got[:12], got
            if got.startswith(last):
                return


def imap_client(info, number, commands, count, sent):
    """Goes on until all was sent: mailboxes must not grow, or the judge sees that and not a leak."""
    rng = random.Random(1000 + number)
    user = (info["users"]["template"] % (number % USERS)).encode()
    done = 0
    while done < commands or not sent.is_set():
        s = socket.create_connection((info["host"], info["ports"]["imap_plain"]), 60)
        f = s.makefile("rwb")
        f.readline()
        imap_batch(f, [b"LOGIN " + user + b" " + info["users"]["password"].encode(), b"SELECT INBOX"])
        for _ in range(rng.randrange(20, 100)):
            choices = [b"NOOP", b"UID FETCH 1:* (FLAGS)", b"UID FETCH 1:20 (BODY.PEEK[])", b"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
                       b"UID STORE 1:3 +FLAGS (\\Seen)", b"UID STORE 2 -FLAGS.SILENT (\\Seen)", b"SEARCH UNSEEN", b"STATUS Sent (MESSAGES)",
                       b"LIST \"\" *", b"UID SEARCH ALL", b"CHECK", b"APPEND Drafts {5+}\r\na: b\r\n"[:-2]]
            lines = [rng.choice(choices) for _ in range(BATCH - 3)]
            lines += [b"UID STORE 1:* +FLAGS.SILENT (\\Deleted)", b"EXPUNGE", b"NOOP"]
            imap_batch(f, lines)
            done += BATCH
            with count.get_lock():
                count.value += BATCH
            if done >= commands and sent.is_set():
                break
        imap_batch(f, [b"SELECT Drafts", b"UID STORE 1:* +FLAGS.SILENT (\\Deleted)", b"CLOSE"])
        s.close()


def pop3_client(info, stop):
    while not stop.is_set():
        p = poplib.POP3(info["host"], info["ports"]["pop3_plain"], timeout=60)
        p.user(info["users"]["template"] % 0)
        p.pass_(info["users"]["password"])
        count = p.stat()[0]
        p.uidl()
        for i in range(1, min(count, 10) + 1):
            try:
                p.retr(i)
                p.dele(i)
            except poplib.error_proto as e:
                if b"deleted by another program" not in e.args[0]:  # an IMAP client was quicker
                    raise
        p.quit()
        time.sleep(0.2)


def role_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        words = f.read().decode().split("\0")
    return words[words.index("--role") + 1] if "--role" in words else "postamtd"


def sample(pid):
    """role -> [resident KiB of its processes, fds]; workers, which come and go, count as one of each protocol."""
    out = {}
    pids = instance.descendants(pid)
    for p in pids:
        try:
            with open(f"/proc/{p}/statm") as f:
                rss = int(f.read().split()[1]) * 4
            fds = len(os.listdir(f"/proc/{p}/fd"))
            name = role_of(p)
            with open(f"/proc/{p}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            if name.endswith("spawner") and parent != pid:
                name = name.replace("spawner", "worker")
            have = out.setdefault(name, [0, 0, 0])
            have[0] += rss
            have[1] += fds
            have[2] += 1
        except (OSError, IndexError, ValueError):
            pass
    return {k: (rss / n, fds / n) for k, (rss, fds, n) in out.items()}


def judge(samples):
    third = len(samples) // 3
    bad = []
    for role in samples[-1]:
        middle = [s[role] for s in samples[third:2 * third] if role in s]
        last = [s[role] for s in samples[2 * third:] if role in s]
        if not middle or not last:
            continue
        rss = [sum(x[0] for x in part) / len(part) for part in (middle, last)]
        fds = [sum(x[1] for x in part) / len(part) for part in (middle, last)]
        print(f"{role:16} {rss[0]:8.0f} -> {rss[1]:8.0f} KiB   {fds[0]:5.1f} -> {fds[1]:5.1f} fds")
        if rss[1] > rss[0] * 1.05 + 1024 or fds[1] > fds[0] + 3:
            bad.append(f"{role} grows: {rss[0]:.0f} -> {rss[1]:.0f} KiB, {fds[0]:.1f} -> {fds[1]:.1f} descriptors")
    return bad


def main():
    commands = int(sys.argv[1]) if len(sys.argv) > 1 else 500000
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    with tempfile.TemporaryDirectory(prefix="postamt-soak-") as d:
        os.chmod(d, 0o755)
        info = instance.start(d, users=USERS, hash_scheme="sha512crypt")
        try:
            sent, done = multiprocessing.Value("L"), multiprocessing.Value("L")
            stop, all_sent = multiprocessing.Event(), multiprocessing.Event()
            senders = [multiprocessing.Process(target=smtp_client, args=(info, i, messages // SMTP_CLIENTS + 1, sent))
                    for i in range(SMTP_CLIENTS)]
            work = senders + [multiprocessing.Process(target=imap_client,
                                                      args=(info, i, commands // USERS + 1, done, all_sent))
                              for i in range(USERS)]
            readers = [multiprocessing.Process(target=pop3_client, args=(info, stop)) for _ in range(POP3_CLIENTS)]
            start, samples = time.monotonic(), []
            for w in work + readers:
                w.start()
            while any(w.is_alive() for w in work):
                time.sleep(1)
                samples.append(sample(info["pid"]))
                if not any(w.is_alive() for w in senders):
                    all_sent.set()
                if len(samples) % 10 == 0:
                    print(f"{time.monotonic() - start:5.0f} s  {done.value} commands  {sent.value} messages", flush=True)
            stop.set()
            for w in readers:
                w.join(60)
            bad = [f"a client ended with {w.exitcode}" for w in work + readers if w.exitcode != 0]
            bad += judge(samples)
            with open(os.path.join(d, "log"), errors="replace") as f:
                bad += [line.strip() for line in f if " error " in line or "refused_call" in line]
            print(f"{done.value} commands, {sent.value} messages in {time.monotonic() - start:.0f} s")
        finally:
            instance.stop(d)
        print("\n".join(bad) or "flat")
        if bad:
            print(instance.log_tail(d, 20))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
