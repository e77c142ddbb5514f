#!/usr/bin/env python3
"""Each system call on a message's way: once the last one of its process, once one that fails.

syscalls.py [--points N] [--only SCENARIO] [-v]     (default N: 6 of each kind; 0: all of them, `make faults`)

A scenario runs once under strace, which counts its calls. Then it runs again for each call: the process is killed as the
call begins; the call fails with EIO, with ENOSPC; a write takes one octet. After each: what was acknowledged is there
exactly once, what was not at most once (twice in sum while it moves, never none), no UID means two messages, nothing else
is shown; the service works within 2 s of a kill; after a failing call the session goes on and the reply says why.
"""
import argparse
import collections
import imaplib
import os
import poplib
import re
import shutil
import signal
import smtplib
import sys
import tempfile
import time

import instance
import strace

BACK_SECONDS = 2.0
OPEN_SECONDS = 1.0       # a SELECT after whatever happened
LONG_POINTS = 150        # at most, of a scenario with hundreds of calls of one kind
OLD_NAMES = 300          # another server's, without UIDs: more than fit into renames (store/assign.c)
KILLS_OF_A_ROLE = 4  # then the instance starts anew: postamtd waits longer before each restart
FILE_CALLS = ("openat2", "openat", "write", "pwrite64", "fdatasync", "fsync", "linkat", "renameat", "renameat2", "unlinkat",
              "mkdirat")
UNREACHED_MAX = 0.1  # of the points: how often some calls come depends on the clock and on what strace interrupted
SENTENCES = {
    "EIO": ("the server's disk reported an error; nothing was changed, please try again later", "4.3.0"),
    "ENOSPC": ("the server's disk is full; please try again later", "4.3.1"),
}
imaplib.Commands.setdefault("MOVE", ("SELECTED",))


class Bad(Exception):
    pass


def instance_slowness():
    return 5 if os.environ.get("POSTAMT_SANITIZED") else 1


class World:
    """The instance, and what must be true of it."""

    def __init__(self, d, info):
        self.d, self.info = d, info
        self.expected = collections.defaultdict(dict)  # (user, mailbox) -> token -> (least, most)
        self.in_sum = {}                               # (user, token) -> least copies in all his mailboxes
        self.deleted = set()                           # (user, token): in a mailbox or, kept for a while, in expunged/
        self.boxes = collections.defaultdict(dict)     # user -> mailbox -> (least, most)
        self.uids = {}                                 # (user, uidvalidity, uid) -> token
        self.highest = collections.Counter()           # (user, uidvalidity) -> UID
        self.serial = 0
        self.back = self.opened = 0.0

    def token(self):
        self.serial += 1
        return f"token-{self.serial}"

    def user(self, n):
        return self.info["users"]["template"] % n

    def imap(self, n):
        m = imaplib.IMAP4(self.info["host"], self.info["ports"]["imap_plain"], timeout=10)
        m.login(self.user(n), self.info["users"]["password"])
        return m

    def pop3(self, n):
        p = poplib.POP3(self.info["host"], self.info["ports"]["pop3_plain"], timeout=10)
        p.user(self.user(n))
        p.pass_(self.info["users"]["password"])
        return p

    def roles(self, name):
        """Pids of that role; a spawner's first, then its workers'."""
        found = []
        for pid in instance.descendants(self.info["pid"]):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().decode().split("\0")
            except OSError:
                continue
            if "--role" in words and words[words.index("--role") + 1] == name:
                found.append(pid)
        return found

    def worker(self, daemon):
        pids = self.roles(daemon + ".spawner")
        if len(pids) != 2:
            raise Bad(f"{daemon} has {len(pids) - 1} workers, one is expected")
        return pids[1]

    def end_workers(self):
        """So that each run finds the same: a worker that has just been made."""
        for daemon in ("imapd", "pop3d"):
            for pid in self.roles(daemon + ".spawner")[1:]:
                os.kill(pid, signal.SIGKILL)
            while len(self.roles(daemon + ".spawner")) > 1:
                time.sleep(0.005)

    def restart(self):
        self.info = instance.restart(self.d)

    def expect(self, n, box, token, least, most):
        self.expected[n, box][token] = (least, most)

    def appended(self, n, said):
        """APPENDUID: above all that were given before (RFC 9051 2.3.1.1)."""
        m = re.search(r"APPENDUID (\d+) (\d+)", said)
        key, uid = (n, int(m[1])), int(m[2])
        if uid <= self.highest[key]:
            raise Bad(f"UID {uid} was given after {self.highest[key]}")
        self.highest[key] = uid
        return m[2]

    def audit(self, n):
        """Looks at all mailboxes of the user; what is found is what must be found from now on."""
        m = self.imap(n)
        names = self.names(m)
        self.audit_names(n, names)
        copies = collections.Counter()
        for box in names:
            found = self.messages(m, n, box)
            counts = collections.Counter(found)
            for token in set(counts) | set(self.expected[n, box]):
                least, most = self.expected[n, box].get(token, (0, 0))
                if not least <= counts[token] <= most:
                    raise Bad(f"{token} is {counts[token]} times in {box} of u{n}, not {least} to {most}")
            self.expected[n, box] = {t: (c, c) for t, c in counts.items()}
            copies += counts
        for (who, token), least in list(self.in_sum.items()):
            if who == n and copies[token] < least:
                raise Bad(f"{token} is lost: {copies[token]} copies")
            if who == n:
                del self.in_sum[who, token]
        m.logout()
        self.audit_files(n)
        kept = self.kept(n)
        for who, token in list(self.deleted):
            if who == n and not copies[token] and token not in kept:
                raise Bad(f"{token} was deleted, and is not kept")
            if who == n:
                self.deleted.discard((who, token))

    def kept(self, n):
        """Tokens of what lies in expunged/."""
        found = set()
        for where, _, files in os.walk(os.path.join(os.path.dirname(self.info["maildir"] % n), "expunged")):
            for name in files:
                with open(os.path.join(where, name), errors="replace") as f:
                    found |= set(re.findall(r"^Subject: (\S+)", f.read(4096), re.M))
        return found

    @staticmethod
    def names(m):
        return sorted(x.decode().split(" ")[-1].strip('"') for x in m.list()[1] if x)

    def audit_names(self, n, names):
        if not self.boxes[n]:
            self.boxes[n] = {x: (1, 1) for x in names}
        for name in set(names) | set(self.boxes[n]):
            least, most = self.boxes[n].get(name, (0, 0))
            if not least <= names.count(name) <= most:
                raise Bad(f"LIST shows {name} {names.count(name)} times, not {least} to {most}")
        self.boxes[n] = {x: (1, 1) for x in names}

    def messages(self, m, n, box):
        began = time.monotonic()
        typ, data = m.select(box)
        took = time.monotonic() - began
        if typ != "OK":
            raise Bad(f"SELECT {box}: {data}")
        self.opened = max(self.opened, took)
        if took > OPEN_SECONDS * instance_slowness():
            raise Bad(f"SELECT {box} took {took:.2f} s")
        validity, found = int(m.response("UIDVALIDITY")[1][0]), []
        if data[0] == b"0":
            return found
        for part in m.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
            if not isinstance(part, tuple):
                continue
            uid = int(re.search(rb"UID (\d+)", part[0])[1])
            subject = re.search(r"Subject: (\S+)", part[1].decode())
            token = subject[1] if subject else "?"
            if self.uids.setdefault((n, validity, uid), token) != token:
                raise Bad(f"UID {uid} of {box} was {self.uids[n, validity, uid]}, is {token}")
            self.highest[n, validity] = max(uid, self.highest[n, validity])
            found.append(token)
        return found

    def audit_files(self, n):
        """Below mail/ are messages and our own small files only."""
        top = os.path.dirname(self.info["maildir"] % n)
        for where, dirs, files in os.walk(top):
            for name in files:
                is_message = os.path.basename(where) in ("cur", "new") and re.match(r"\d+\.[a-z0-9]+(r\d+)?\.?", name)
                is_kept = re.search(r"/expunged/[0-9a-f]{32}$", where) and re.match(r"[ls][0-9a-z]+(~[0-9a-z]+)?\.\d+\.|names\.", name)
                if not is_message and not is_kept and not re.match(r"postamt-|dovecot-|subscriptions$|maildirfolder$", name):
                    raise Bad(f"{os.path.join(where, name)} was left")
            if os.path.basename(where) == "tmp" and files:
                raise Bad(f"{where} holds {files}")


def text(token, size=200):
    return f"From: a@b.test\r\nSubject: {token}\r\n\r\n{'x' * size}\r\n"


def imap_try(does, *args):
    """("OK"|"NO", what it said), or (None, ..) when no answer came."""
    try:
        typ, data = does(*args)
        return typ, b" ".join(x for x in data if isinstance(x, bytes)).decode()
    except (imaplib.IMAP4.abort, OSError) as e:
        return None, str(e)


class Deliver:
    """A mail to two people, more than one write long."""

    name, role, long = "deliver", True, False

    def __init__(self, world):
        self.w, self.users = world, (0, 1)

    def connect(self):
        self.s = smtplib.SMTP(self.w.info["host"], self.w.info["ports"]["smtp"], timeout=15)
        self.s.ehlo()

    def prepare(self):
        self.connect()
        return self.w.roles("smtpd.deliver")[0]

    def run(self):
        token = self.w.token()
        try:
            refused = self.s.sendmail("a@b.test", [self.w.user(n) for n in self.users], text(token, 70000))
            result = ("NO", str(refused)) if refused else ("OK", "")
        except smtplib.SMTPResponseException as e:
            result = ("NO", f"{e.smtp_code} {e.smtp_error.decode()}")
        except (smtplib.SMTPServerDisconnected, OSError) as e:
            result = (None, str(e))
        for n in self.users:
            self.w.expect(n, "INBOX", token, result[0] == "OK", 1)
        self.token = token
        return [result]

    def not_synced(self):
        """A link whose folder could not be synced stays, and is no promise: the queue brings the message to him once
        more. Rather twice than never."""
        deadline = time.monotonic() + 10
        while instance.cli(self.w.d, "queue", "list", "--json").stdout:
            if time.monotonic() > deadline:
                raise Bad("the queue does not bring what could not be synced")
            time.sleep(0.05)
        for n in self.users:
            self.w.expect(n, "INBOX", self.token, self.w.expected[n, "INBOX"][self.token][0], 2)

    def goes_on(self):
        return self.s.noop()[0] == 250

    def probe(self):
        self.connect()
        if self.run()[0][0] != "OK":
            raise OSError("not yet")

    def close(self):
        self.s.close()


class Imap:
    role, users, long = False, (2,), False

    def __init__(self, world):
        self.w, self.n = world, self.users[0]

    def login(self):
        self.m = self.w.imap(self.n)

    def goes_on(self):
        return self.m.noop()[0] == "OK"

    def probe(self):
        m = self.w.imap(self.n)
        ok = m.select("INBOX")[0] == "OK" and m.noop()[0] == "OK"
        m.shutdown()
        if not ok:
            raise OSError("not yet")

    def close(self):
        try:
            self.m.shutdown()
        except OSError:  # it is closed already
            pass

    def new_boxes(self, *kinds):
        """Makes mailboxes of these kinds, with the next number; those of earlier runs go."""
        w, self.boxes = self.w, [f"{x}{self.w.serial}" for x in kinds]
        for box in [x for x in w.boxes[self.n] if re.fullmatch(r"[A-Z][a-z]+\d+", x)]:
            self.m.delete(box)
            del w.boxes[self.n][box]
            w.expected.pop((self.n, box), None)
        for box in self.boxes:
            self.m.create(box)
            w.boxes[self.n][box] = (1, 1)
        return self.boxes

    def put(self, box):
        """A message that is there, before the disturbance; its UID."""
        token = self.w.token()
        typ, said = imap_try(self.m.append, box, None, None, text(token).encode())
        if typ != "OK":
            raise Bad(f"APPEND {box}: {said}")
        self.w.expect(self.n, box, token, 1, 1)
        return token, self.w.appended(self.n, said)


class Append(Imap):
    """APPEND with a flag, a date and a keyword nobody has used yet."""

    name = "append"

    def prepare(self):
        self.login()
        self.new_boxes("Box")
        self.put(self.boxes[0])
        self.m.shutdown()
        self.w.end_workers()  # one that knows nothing of the mailbox
        self.login()
        return self.w.worker("imapd")

    def run(self):
        token = self.w.token()
        result = imap_try(self.m.append, self.boxes[0], r"(\Seen word)", '"01-Jan-2024 00:00:00 +0000"',
                          text(token, 3000).encode())
        self.w.expect(self.n, self.boxes[0], token, result[0] == "OK", result[0] != "NO")
        if result[0] == "OK":
            self.w.appended(self.n, result[1])
        return [result]

    def goes_on(self):
        if self.m.noop()[0] != "OK":
            return False
        self.close()
        self.w.end_workers()
        self.probe()
        return True

    def probe(self):
        """The next worker numbers on where this one was."""
        self.login()
        self.put(self.boxes[0])


class Change(Imap):
    """COPY, MOVE, STORE, EXPUNGE, by UID."""

    name, users = "change", (3,)

    def prepare(self):
        self.login()
        if not self.w.boxes[self.n].get("Dest"):
            self.m.create("Dest")
            self.w.audit(self.n) if not self.w.boxes[self.n] else self.w.boxes[self.n].update(Dest=(1, 1))
        self.mails = [self.put("INBOX") for _ in range(3)]
        self.m.select("INBOX")
        return self.w.worker("imapd")

    def run(self):
        w, n, out = self.w, self.n, []
        (copied, c), (moved, v), (gone, g) = self.mails
        r = imap_try(self.m.uid, "COPY", c, "Dest")
        w.expect(n, "Dest", copied, r[0] == "OK", r[0] != "NO")
        out.append(r)
        r = imap_try(self.m.uid, "MOVE", v, "Dest")
        if r[0] == "OK":
            w.expect(n, "INBOX", moved, 0, 0)
            w.expect(n, "Dest", moved, 1, 1)
        else:
            w.expect(n, "INBOX", moved, 0, 1)
            w.expect(n, "Dest", moved, 0, 1)
            w.in_sum[n, moved] = 1
        out.append(r)
        r = imap_try(self.m.uid, "STORE", g, "+FLAGS", r"(\Deleted)")
        out.append(r)
        stored = r[0]
        r = imap_try(self.m.uid, "EXPUNGE", g)
        w.expect(n, "INBOX", gone, 0 if stored != "NO" else 1, 0 if r[0] == "OK" and stored == "OK" else 1)
        w.deleted.add((n, gone))
        out.append(r)
        return out


class Folders(Imap):
    """CREATE, RENAME with a mail in it, DELETE of one with a mail, one after the other."""

    name, users = "folders", (4,)

    def prepare(self):
        self.login()
        self.old, self.dead = self.new_boxes("Old", "Dead")
        self.new, self.born = self.old.replace("Old", "New"), self.old.replace("Old", "Born")
        self.token, _ = self.put(self.old)
        self.lost, _ = self.put(self.dead)
        return self.w.worker("imapd")

    def run(self):
        w, n = self.w, self.n
        # NO after the rename when the folder's sync failed: then either is right, but one of them
        r1 = imap_try(self.m.create, self.born)
        w.boxes[n][self.born] = (r1[0] == "OK", 1)
        r2 = imap_try(self.m.rename, self.old, self.new)
        done = r2[0] == "OK"
        for box, least, most in ((self.old, 0, not done), (self.new, done, 1)):
            w.boxes[n][box] = (least, most)
            w.expect(n, box, self.token, least, most)
        w.in_sum[n, self.token] = 1
        r3 = imap_try(self.m.delete, self.dead)
        w.boxes[n][self.dead] = (0, r3[0] != "OK")
        w.expect(n, self.dead, self.lost, 0, r3[0] != "OK")
        w.deleted.add((n, self.lost))
        return [r1, r2, r3]


class Foreign(Imap):
    """What another server or a person with a shell left there: names without UIDs, a lost state/."""

    def folder(self, box, sub):
        return os.path.join(self.w.info["maildir"] % self.n, "." + box, sub)

    def put_foreign(self, box, count, sub="cur"):
        for i in range(count):
            token = self.w.token()
            path = os.path.join(self.folder(box, sub), f"{1500000000 + i}.x{self.w.serial}" + (":2," if sub == "cur" else ""))
            with open(path, "w") as f:
                f.write(text(token, 20).replace("\r", ""))
            os.chown(path, instance.NOBODY, instance.NOBODY)
            self.w.expect(self.n, box, token, 1, 1)

    def sight(self, box):
        """SELECT and FETCH: UIDs that a client was told mean the same from now on."""
        try:
            self.w.messages(self.m, self.n, box)
            return ("OK", "")
        except imaplib.IMAP4.abort as e:
            return (None, str(e))
        except OSError as e:
            return (None, str(e))
        except Bad as e:
            if "SELECT" in str(e) and "took" not in str(e):
                return ("NO", str(e))
            raise


class Adopt(Foreign):
    """First contact with many names that have no UIDs."""

    name, users, long = "adopt", (5,), True

    def prepare(self):
        self.login()
        self.new_boxes("Old")
        self.m.shutdown()
        self.w.end_workers()
        self.put_foreign(self.boxes[0], OLD_NAMES)
        self.login()
        return self.w.worker("imapd")

    def run(self):
        first = self.sight(self.boxes[0])
        return [first, imap_try(self.m.close)] if first[0] == "OK" else [first]


class Rebuild(Foreign):
    """state/ is lost, somebody added and delivered: all that is derived is made anew, written and used again."""

    name, users = "rebuild", (5,)

    def prepare(self):
        self.login()
        self.new_boxes("Box")
        box = self.boxes[0]
        self.uid = [self.put(box)[1] for _ in range(3)][0]
        self.gone = self.put(box)
        self.m.shutdown()
        self.w.end_workers()
        state = os.path.join(self.w.d, "state", instance.DOMAIN, f"u{self.n}", "." + box)
        if not os.path.isdir(state):
            raise Bad(f"{state} is not where derived files are")
        shutil.rmtree(state)
        self.put_foreign(box, 2)
        self.put_foreign(box, 2, "new")
        self.login()
        return self.w.worker("imapd")

    def run(self):
        box, out = self.boxes[0], [self.sight(self.boxes[0])]
        if out[0][0] != "OK":
            return out
        out.append(imap_try(self.m.fetch, "1:*", "(FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)"))
        out.append(imap_try(self.m.uid, "STORE", self.uid, "+FLAGS", r"(\Flagged)"))
        out.append(imap_try(self.m.uid, "STORE", self.gone[1], "+FLAGS", r"(\Deleted)"))
        stored = out[-1][0]
        out.append(imap_try(self.m.uid, "EXPUNGE", self.gone[1]))
        self.w.expect(self.n, box, self.gone[0], 0 if stored != "NO" else 1, 0 if stored == out[-1][0] == "OK" else 1)
        out.append(imap_try(self.m.close))
        if out[-1][0] != "NO":  # CLOSE expunges what is marked
            self.w.expect(self.n, box, self.gone[0], 0, 0 if stored == out[-1][0] == "OK" else 1)
        return out


class Pop3(Imap):
    """DELE and QUIT."""

    name, users = "pop3", (6,)

    def prepare(self):
        self.login()
        self.token, _ = self.put("INBOX")
        self.kept, _ = self.put("INBOX")
        self.m.shutdown()
        self.w.end_workers()
        self.p = self.w.pop3(self.n)
        return self.w.worker("pop3d")

    def run(self):
        try:
            n = len(self.p.list()[1])
            # the second newest: put() made it, then the newest
            self.p.dele(n - 1)
            result = ("OK", self.p.quit().decode())
        except poplib.error_proto as e:
            # what the server said is in octets; poplib's own words are not
            result = ("NO" if isinstance(e.args[0], bytes) else None, str(e))
        except OSError as e:
            result = (None, str(e))
        self.w.expect(self.n, "INBOX", self.token, 0, result[0] != "OK")
        self.w.deleted.add((self.n, self.token))
        return [result]

    def goes_on(self):
        return True  # QUIT ends it either way

    def close(self):
        self.p.close()


def sync_again(calls, at):
    """A sync that failed is not tried again on the same fd: not before the next change, the next answer."""
    for c in calls[at + 1:]:
        if c.name in ("sendmsg", "writev", "linkat", "renameat", "renameat2", "unlinkat", "mkdirat"):
            return False
        if c.name == "close" and c.fd == calls[at].fd:
            return False
        if c.name in ("fsync", "fdatasync") and c.fd == calls[at].fd:
            return True
    return False


class Sweep:
    def __init__(self, world, scenario, points, verbose):
        self.w, self.s, self.verbose = world, scenario, verbose
        # one of hundreds of equal renames is as good as the next
        self.points = (points + 1) // 2 or LONG_POINTS if scenario.long else points
        self.out = os.path.join(world.d, "calls")
        self.kills = 0
        self.tally = collections.Counter()

    def prepare(self):
        self.w.end_workers()
        if self.s.role and self.kills >= KILLS_OF_A_ROLE:
            self.w.restart()
            self.kills = 0
        return self.s.prepare()

    def once(self, *expressions):
        pid = self.prepare()
        with strace.attach(pid, *expressions, out=self.out):
            began = time.monotonic()
            results = self.s.run()
            time.sleep(0.01)
        return pid, began, results, strace.calls(self.out)

    def audit(self):
        for n in self.s.users:
            self.w.audit(n)

    def count(self):
        """The calls of a run that nothing disturbs; the second one, so that first times are behind it."""
        for _ in range(2):
            _, _, results, calls = self.once()
            self.s.close()
            self.audit()
            if any(r[0] != "OK" for r in results):
                raise Bad(f"undisturbed: {results}")
        return calls

    def some(self, points):
        if not self.points or len(points) <= self.points:
            return points
        return [points[i * len(points) // self.points] for i in range(self.points)]

    def kill(self, c):
        for _ in range(2):
            _, began, results, _ = self.once(strace.fault(c.name, c.nth, "KILL"))
            self.s.close()
            if strace.was_killed(self.out):
                self.kills += 1
                self.wait_back(began)
                self.audit()
                self.tally["killed"] += 1
                self.tally["answered all the same"] += all(r[0] == "OK" for r in results)
                return
            self.audit()
            if any(r[0] != "OK" for r in results):
                raise Bad(f"not reached, but {results}")
        self.tally["not reached"] += 1

    def wait_back(self, began):
        while True:
            try:
                self.s.probe()
                break
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
                if time.monotonic() - began > 20:
                    raise Bad("the service did not come back in 20 s")
                time.sleep(0.01)
        self.s.close()
        took = time.monotonic() - began
        self.w.back = max(self.w.back, took)
        if took > BACK_SECONDS:
            raise Bad(f"the service was back after {took:.2f} s")

    def fail(self, c, what):
        pid, _, results, calls = self.once(strace.fault(c.name, c.nth, what))
        if what == "ENOSPC":
            self.w.deleted.clear()  # a full disk keeps nothing
        at = [i for i, x in enumerate(calls) if "(INJECTED)" in x.line]
        if not at:
            self.s.close()
            self.audit()
            self.tally["not reached"] += 1
            return
        if not instance.alive(pid):
            raise Bad(f"the process died of it: {results}")
        if not self.s.goes_on():
            raise Bad("the session did not go on")
        self.s.close()
        if any(r[0] is None for r in results):
            raise Bad(f"no answer: {results}")
        if what == "SHORT":
            self.check_short(calls, at[0])
        else:
            self.check_sentence(what, results, c)
        if c.name in ("fsync", "fdatasync") and sync_again(calls, at[0]):
            raise Bad("a sync that failed was tried again")
        if c.name == "fsync" and isinstance(self.s, Deliver):
            self.s.not_synced()
        self.audit()
        self.tally["failed: " + ("said so" if any(r[0] == "NO" for r in results) else "done all the same")] += 1

    @staticmethod
    def check_sentence(what, results, call):
        # a deliver tries what failed once more, but not the sync: then it was the disk, whatever the first errno was
        sentence, enhanced = SENTENCES["EIO" if call.name == "fsync" and results[0][1].startswith("451") else what]
        refused = [r[1] for r in results if r[0] == "NO"]
        if len(refused) > 1:
            raise Bad(f"more than one command failed: {results}")
        if refused and (sentence not in refused[0] or re.match(r"\d{3} ", refused[0]) and enhanced not in refused[0]):
            raise Bad(f"{what} was told as: {refused[0]}")

    @staticmethod
    def may_be_short(files):
        """strace takes the octet away: only from a message, whose first one nobody needs."""
        return [c for c in files if c.name == "write" and ("token-" in c.line or "/spool/" in c.path)]

    @staticmethod
    def check_short(calls, at):
        wanted = int(re.search(r", (\d+)\)\s+= ", calls[at].line)[1])
        again = next((c for c in calls[at + 1:] if c.name == "write" and c.fd == calls[at].fd), None)
        if wanted > 1 and (not again or int(re.search(r", (\d+)\)\s+= ", again.line)[1]) != wanted - 1):
            raise Bad("the rest of a short write was not written")

    def points_to_try(self, calls, files):
        todo = [(c, "KILL") for c in self.some(calls)]
        for what in ("EIO", "ENOSPC"):
            todo += [(c, what) for c in self.some(files)]
        return todo + [(c, "SHORT") for c in self.some(self.may_be_short(files))]

    def all(self):
        bad = []
        calls = self.count()
        files = [c for c in calls if c.name in FILE_CALLS and c.path.startswith(self.w.d) and not c.path.endswith("/log")]
        todo = self.points_to_try(calls, files)
        for c, what in todo:
            if self.verbose:
                print(f"{self.s.name}: {what} {c.name} {c.nth}: {c.line[:150]}", flush=True)
            try:
                self.kill(c) if what == "KILL" else self.fail(c, what)
            except Bad as e:
                bad.append(f"{self.s.name}: {what} at {c.name} {c.nth} ({c.line[:200]}): {e}")
                print(bad[-1], flush=True)
                self.recover()
        if self.tally["not reached"] > UNREACHED_MAX * len(todo) + 1:
            bad.append(f"{self.s.name}: {self.tally['not reached']} of {len(todo)} points did not come again")
            print(bad[-1], flush=True)
        print(f"{self.s.name}: {len(calls)} calls, {len(files)} of files: " +
              ", ".join(f"{n} {x}" for x, n in self.tally.items()), flush=True)
        return bad

    def recover(self):
        """After a finding: what is there is taken as it is, so that the next finding is its own."""
        self.s.close()
        for n in self.s.users:
            self.w.boxes.pop(n, None)
            self.w.deleted.clear()
            for key in [k for k in self.w.expected if k[0] == n]:
                del self.w.expected[key]
            self.w.in_sum = {k: v for k, v in self.w.in_sum.items() if k[0] != n}
            m = self.w.imap(n)
            for name in self.w.names(m):
                self.w.boxes[n][name] = (1, 1)
                for t, c in collections.Counter(self.w.messages(m, n, name)).items():
                    self.w.expect(n, name, t, c, c)
            m.logout()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--points", type=int, default=int(os.environ.get("FAULT_POINTS", "6")))
    p.add_argument("--only")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    why = strace.missing()
    if why:
        print(f"skipped: {why}")
        return 77
    bad = []
    with tempfile.TemporaryDirectory(prefix="postamt-calls-") as d:
        os.chmod(d, 0o755)
        info = instance.start(d, users=7, hash_scheme="sha512crypt", extra="delivers = 1;")
        world = World(d, info)
        try:
            for n in range(7):
                world.audit(n)
            for kind in (Deliver, Append, Change, Folders, Adopt, Rebuild, Pop3):
                if a.only in (None, kind.name):
                    bad += Sweep(world, kind(world), a.points, a.v).all()
            world.restart()
            for n in range(7):
                world.audit(n)
        except BaseException:
            print(instance.log_tail(d, 40))
            raise
        finally:
            instance.stop(d)
    print(f"back after {world.back:.2f} s at most, opened in {world.opened:.2f} s at most; {len(world.uids)} UIDs, each of one message; {len(bad)} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
