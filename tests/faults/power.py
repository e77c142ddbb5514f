#!/usr/bin/env python3
"""The power goes: what was acknowledged is there afterwards, what was expunged stays away.

power.py [SECONDS] [--fs ext4|xfs] [--way shutdown|snapshot] [--bad] [-v]      (default 60; `make power`)

mail/, state/, spool/ and the accounts lie on a file system of their own in a file. Clients with ledgers send, APPEND, MOVE,
flag and EXPUNGE. Then, as security.md 3.1 has it:
  shutdown   the file system is cut off from its disk without writing its journal out (ext4, XFS: the GOINGDOWN ioctl), the
             daemons are killed, it is mounted again
  snapshot   the daemons are stopped (SIGSTOP), the ledgers are read, the ext4 image is cloned (it lies on an XFS with
             reflink) and the daemons go on; afterwards each clone is mounted and looked at
After each cut: the daemons start, each SELECT takes less than a second, acknowledged messages are there once and whole with
the UIDs that were told, what was expunged is not. The control is a server that does not sync folders: --bad asks whether the
rig sees it lose mail (exit status 0 then); without an argument that comes first.
"""
import argparse
import contextlib
import fcntl
import imaplib
import os
import random
import re
import shutil
import signal
import smtplib
import struct
import subprocess
import sys
import tempfile
import threading
import time

import instance

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
NOLOGFLUSH = 2
SIZES = {"ext4": 192 << 20, "xfs": 320 << 20}
OPEN_SECONDS = 1.0
FLAGS_SECONDS = 1.5  # flags are synced within a second
CONTROL_ROUNDS = 8
SMTP_USERS, IMAP_USERS = 3, 4
MAKE = {"ext4": ["mkfs.ext4", "-q", "-m", "0"], "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"]}
imaplib.Commands.setdefault("MOVE", ("SELECTED",))


class Bad(Exception):
    pass


class Skip(Exception):
    pass


def command(*args):
    return subprocess.run(args, capture_output=True, text=True, timeout=120)


# --- file systems in files ---

class Disk:
    def __init__(self, fs, image, where, options="loop"):
        self.fs, self.image, self.where, self.options = fs, image, where, options
        os.makedirs(where, exist_ok=True)

    def make(self):
        with open(self.image, "wb") as f:
            f.truncate(SIZES[self.fs])
        try:
            r = command(*MAKE[self.fs], self.image)
        except FileNotFoundError:
            raise Skip(f"{MAKE[self.fs][0]} is not installed")
        if r.returncode != 0:
            raise Skip(f"{MAKE[self.fs][0]}: {r.stderr.strip()}")

    def mount(self):
        r = command("mount", "-t", self.fs, "-o", self.options, self.image, self.where)
        if r.returncode != 0:
            raise Skip(f"nothing can be mounted here: {r.stderr.strip()}")

    def umount(self):
        for _ in range(100):
            r = command("umount", self.where)
            if r.returncode == 0 or "not mounted" in r.stderr:
                return
            time.sleep(0.05)
        raise Bad(f"umount: {r.stderr.strip()}")

    def cut(self):
        fd = os.open(self.where, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)


# --- clients ---

class Ledger:
    """What one user's client tried and was told; each entry is made before, or after, what it says."""

    def __init__(self):
        self.tried, self.acked = set(), set()
        self.uids = {}          # (mailbox, uidvalidity, uid) -> token
        self.tried_away, self.away = set(), set()  # (mailbox, token): expunged or moved
        self.flagged = {}       # (mailbox, token) -> when it was acknowledged
        self.where = {}         # token -> mailbox, of what is acknowledged

    def copy(self):
        other = Ledger()
        for k, v in vars(self).items():
            setattr(other, k, v.copy())
        return other


class Client(threading.Thread):
    def __init__(self, info, number, ledger, stop, pause):
        super().__init__(daemon=True)
        self.info, self.number, self.ledger, self.stop, self.pause = info, number, ledger, stop, pause
        self.user = info["users"]["template"] % number

    def run(self):
        while not self.stop.is_set():
            try:
                self.work()
            except Exception:  # a server without a disk says many things
                if not self.stop.is_set():
                    time.sleep(0.05)


def text(token):
    return f"From: a@b.test\r\nSubject: {token}\r\n\r\n{'x' * 70}\r\n{'y' * random.randrange(10, 3000)}\r\nend-{token}\r\n"


SERIAL = iter(range(1, 1 << 60))


class Smtp(Client):
    def work(self):
        with smtplib.SMTP(self.info["host"], self.info["ports"]["smtp"], timeout=5) as s:
            while not self.stop.is_set():
                token = f"smtp-{self.number}-{next(SERIAL)}"
                self.ledger.tried.add(token)
                s.sendmail("a@b.test", [self.user], text(token))
                self.ledger.where[token] = "INBOX"
                self.ledger.acked.add(token)
                time.sleep(self.pause)


class Imap(Client):
    """Appends to Work, moves some to Done, expunges some there, flags some."""

    def work(self):
        m = imaplib.IMAP4(self.info["host"], self.info["ports"]["imap_plain"], timeout=5)
        try:
            m.login(self.user, self.info["users"]["password"])
            m.create("Work")
            m.create("Done")
            m.select("Work")
            while not self.stop.is_set():
                self.one(m)
                time.sleep(self.pause)
        finally:
            m.shutdown()

    def one(self, m):
        led, token = self.ledger, f"imap-{self.number}-{next(SERIAL)}"
        led.tried.add(token)
        typ, data = m.append("Work", None, None, text(token).encode())
        said = re.search(rb"APPENDUID (\d+) (\d+)", data[0] or b"")
        if typ != "OK" or not said:
            return
        uid = said[2].decode()
        led.uids["Work", int(said[1]), int(uid)] = token
        led.where[token] = "Work"
        led.acked.add(token)
        m.noop()
        dice = random.randrange(5)
        if dice == 0:
            if m.uid("STORE", uid, "+FLAGS", r"(\Flagged word)")[0] == "OK":
                led.flagged["Work", token] = time.monotonic()
        elif dice in (1, 2):
            led.tried_away.add(("Work", token))
            if m.uid("MOVE", uid, "Done")[0] == "OK":
                led.where[token] = "Done"
                led.away.add(("Work", token))
        elif dice == 3:
            led.tried_away.add(("Work", token))
            if m.uid("STORE", uid, "+FLAGS", r"(\Deleted)")[0] == "OK" and m.uid("EXPUNGE", uid)[0] == "OK":
                led.where.pop(token)
                led.away.add(("Work", token))


# --- looking ---

def sight(m, box, opened):
    """Token -> (times, UID, flags); UIDVALIDITY."""
    began = time.monotonic()
    typ, data = m.select(box, readonly=True)
    opened.append(time.monotonic() - began)
    if typ != "OK":
        if box != "INBOX" and b"NONEXISTENT" in data[0]:
            return {}, 0
        raise Bad(f"SELECT {box}: {data}")
    validity, found = int(m.response("UIDVALIDITY")[1][0]), {}
    if data[0] == b"0":
        return found, validity
    typ, parts = m.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
    if typ != "OK":
        raise Bad(f"FETCH of {box}: {parts}")
    for part in parts:
        if not isinstance(part, tuple):
            continue
        token = re.search(r"Subject: (\S+)", part[1].decode())
        token = token[1] if token else "?"
        if f"end-{token}" not in part[1].decode():
            raise Bad(f"{token} in {box} is not whole")
        uid, flags = int(re.search(rb"UID (\d+)", part[0])[1]), part[0].decode()
        found[token] = (found.get(token, (0,))[0] + 1, uid, flags)
    return found, validity


def check(info, number, led, cut_at, opened):
    """led: as it was when the power went, or later: what is in it was acknowledged."""
    m = imaplib.IMAP4(info["host"], info["ports"]["imap_plain"], timeout=20)
    m.login(info["users"]["template"] % number, info["users"]["password"])
    boxes = {box: sight(m, box, opened) for box in ("INBOX", "Work", "Done")}
    m.logout()
    for token, box in list(led.where.items()):
        moving = (box, token) in led.tried_away
        here = boxes[box][0].get(token, (0,))[0]
        done = boxes["Done"][0].get(token, (0,))[0] if moving else 0
        expunging = moving and led.where.get(token) == box
        if here > 1 or (here == 0 and not expunging and done == 0):
            raise Bad(f"{token} was acknowledged in {box} of user {number}: it is there {here} times")
    for box, (found, validity) in boxes.items():
        for token, (times, uid, flags) in found.items():
            if token not in led.tried:
                raise Bad(f"{token} in {box}: nobody sent that")
            if times > 1:
                raise Bad(f"{token} is in {box} {times} times")
            if (box, token) in led.away:
                raise Bad(f"{token} was taken from {box} for good and came back")
            told = led.uids.setdefault((box, validity, uid), token)
            if told != token:
                raise Bad(f"UID {uid} of {box} was {told}, is {token}")
            if cut_at - led.flagged.get((box, token), cut_at) > FLAGS_SECONDS and not ("\\Flagged" in flags and "word" in flags):
                raise Bad(f"{token} in {box} lost its flags: {flags}")
        validities = {v for (b, v, _) in led.uids if b == box}
        if validity and validities - {validity}:
            raise Bad(f"UIDVALIDITY of {box} was {validities}, is {validity}")
    # from here on what is there is what must stay; flags of the last moment may be lost
    led.flagged = {(box, token): when for (box, token), when in led.flagged.items()
                   if "word" in boxes[box][0].get(token, (0, 0, ""))[2]}
    for token in led.tried:
        for box, (found, _) in boxes.items():
            if token in found and token not in led.acked:
                led.acked.add(token)
                led.where.setdefault(token, box)
    for token, box in list(led.where.items()):
        if token not in boxes[box][0]:
            if token in boxes["Done"][0]:
                led.where[token] = "Done"
            else:
                led.where.pop(token)


# --- the rig ---

class Rig:
    def __init__(self, d, fs, way, bad, verbose):
        self.d, self.fs, self.way, self.bad, self.verbose = d, fs, way, bad, verbose
        self.base = None
        if way == "snapshot":
            self.base = Disk("xfs", os.path.join(d, "base.img"), os.path.join(d, "base"))
            SIZES["xfs"] = max(SIZES["xfs"], 3 << 30)
            self.disk = Disk("ext4", os.path.join(self.base.where, "disk.img"), os.path.join(d, "disk"), "loop,commit=300")
        else:
            self.disk = Disk(fs, os.path.join(d, "disk.img"), os.path.join(d, "disk"))
        self.run = os.path.join(d, "run")
        self.ledgers = [Ledger() for _ in range(SMTP_USERS + IMAP_USERS)]
        self.opened, self.cuts, self.lost = [], 0, []
        self.preload = None

    def prepare(self):
        os.makedirs(self.run)
        if self.base:
            self.base.make()
            self.base.mount()
        self.disk.make()
        self.disk.mount()
        os.chown(self.disk.where, instance.NOBODY, instance.NOBODY)
        if self.bad:
            self.preload = os.path.join(self.d, "no_dir_sync.so")
            source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "no_dir_sync.c")
            try:
                r = command(os.environ.get("CC", "cc").split()[-1], "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", self.preload, source)
            except FileNotFoundError:
                raise Skip("no compiler for the control")
            if r.returncode != 0:
                raise Skip(f"the control cannot be compiled: {r.stderr}")
            os.chmod(self.preload, 0o755)

    @contextlib.contextmanager
    def environment(self):
        if self.preload:
            os.environ["LD_PRELOAD"] = self.preload
        try:
            yield
        finally:
            os.environ.pop("LD_PRELOAD", None)

    def start(self):
        plain = instance.config_text

        def config(d, *args):
            where = self.disk.where
            return re.sub(r'(mail|state|spool|auth) = "[^"]*/', lambda m: f'{m[1]} = "{where}/', plain(d, *args))
        instance.config_text = config
        try:
            with self.environment():
                self.info = instance.start(self.run, users=len(self.ledgers), hash_scheme="sha512crypt")
        finally:
            instance.config_text = plain
        os.sync()

    def kill(self):
        pids = instance.descendants(self.info["pid"])
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.info["pid"], 0)
        while any(instance.alive(p) for p in pids):
            time.sleep(0.01)

    def again(self):
        with self.environment():
            self.info = instance.restart(self.run)

    def clients(self):
        """A lone slow one shows best what waits for another's sync; so all are slow in the control."""
        stop = threading.Event()
        clients = []
        for n, ledger in enumerate(self.ledgers):
            if self.bad and n not in (0, SMTP_USERS):
                continue
            pause = 0.15 if self.bad else random.choice((0, 0, 0.02))
            clients.append((Smtp if n < SMTP_USERS else Imap)(self.info, n, ledger, stop, pause))
        for c in clients:
            c.start()
        return stop, clients

    def look(self, ledgers, cut_at):
        for n, ledger in enumerate(ledgers):
            try:
                check(self.info, n, ledger, cut_at, self.opened)
            except (Bad, imaplib.IMAP4.error, OSError) as e:
                self.lost.append(f"{self.disk.fs} cut {self.cuts}, user {n}: {e}")
                if not self.bad:
                    print(self.lost[-1], flush=True)
                self.ledgers[n] = fresh = Ledger()  # the next finding is to be its own
                with contextlib.suppress(Bad, imaplib.IMAP4.error, OSError):
                    self.take_as_is(n, fresh)

    def take_as_is(self, n, ledger):
        m = imaplib.IMAP4(self.info["host"], self.info["ports"]["imap_plain"], timeout=20)
        m.login(self.info["users"]["template"] % n, self.info["users"]["password"])
        for box in ("INBOX", "Work", "Done"):
            for token, (_, uid, _) in sight(m, box, [])[0].items():
                ledger.tried.add(token)
                ledger.acked.add(token)
                ledger.where[token] = box
        m.logout()

    def round_shutdown(self):
        stop, clients = self.clients()
        time.sleep(random.uniform(0.5, 2.0))
        cut_at = time.monotonic()
        self.disk.cut()
        self.cuts += 1
        stop.set()
        self.kill()
        for c in clients:
            c.join(10)
        self.disk.umount()
        self.disk.mount()
        self.again()
        self.look(self.ledgers, cut_at)

    def round_snapshot(self, count):
        """Several cuts of one run; each is looked at afterwards."""
        stop, clients = self.clients()
        taken = []
        for i in range(count):
            time.sleep(random.uniform(0.2, 0.6))
            pids = instance.descendants(self.info["pid"])
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            time.sleep(0.02)  # what was written to a client is read and in the ledger
            ledgers = [x.copy() for x in self.ledgers]
            image = os.path.join(self.base.where, f"snap{i}.img")
            r = command("cp", "--reflink=always", self.disk.image, image)
            cut_at = time.monotonic()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            if r.returncode != 0:
                raise Skip(f"no clones: {r.stderr.strip()}")
            taken.append((image, ledgers, cut_at))
        stop.set()
        self.kill()
        for c in clients:
            c.join(10)
        self.disk.umount()
        live = self.disk.image
        for image, ledgers, cut_at in taken:
            self.cuts += 1
            self.disk.image = image
            self.disk.mount()
            self.again()
            self.look_at_copy(ledgers, cut_at)
            self.kill()
            self.disk.umount()
            os.unlink(image)
        self.disk.image = live
        self.disk.mount()
        self.again()
        self.look(self.ledgers, time.monotonic())

    def look_at_copy(self, ledgers, cut_at):
        for n, ledger in enumerate(ledgers):
            # what began before the cut may have ended after it
            for later in ("tried", "tried_away"):
                getattr(ledger, later).update(getattr(self.ledgers[n], later))
            try:
                check(self.info, n, ledger, cut_at, self.opened)
            except (Bad, imaplib.IMAP4.error, OSError) as e:
                self.lost.append(f"clone {self.cuts}, user {n}: {e}")
                if not self.bad:
                    print(self.lost[-1], flush=True)

    def go(self, seconds, rounds=None):
        self.prepare()
        self.start()
        end = time.monotonic() + seconds
        try:
            while (self.cuts < rounds and not self.lost) if rounds else time.monotonic() < end:
                if self.way == "snapshot":
                    self.round_snapshot(4)
                else:
                    self.round_shutdown()
                if self.verbose:
                    print(f"{self.fs}: {self.cuts} cuts, {sum(len(x.acked) for x in self.ledgers)} acknowledged, "
                          f"{len(self.lost)} findings", flush=True)
            if max(self.opened, default=0) > OPEN_SECONDS:
                self.lost.append(f"a SELECT took {max(self.opened):.2f} s")
                print(self.lost[-1])
        except BaseException:
            print(instance.log_tail(self.run, 30))
            raise
        finally:
            self.kill()

    def end(self):
        for disk in (self.disk, self.base):
            if disk:
                with contextlib.suppress(Bad):
                    disk.umount()

    def summary(self):
        return (f"{self.way} of {self.disk.fs}{' without folder syncs' if self.bad else ''}: {self.cuts} cuts, "
                f"{sum(len(x.acked) for x in self.ledgers)} messages acknowledged, "
                f"{sum(len(x.away) for x in self.ledgers)} expunged or moved; opened in "
                f"{max(self.opened, default=0):.2f} s at most; {len(self.lost)} findings")


def try_one(fs, way, seconds, bad, verbose):
    """True when it came out as it should."""
    with tempfile.TemporaryDirectory(prefix="postamt-power-") as d:
        os.chmod(d, 0o755)
        rig = Rig(d, fs, way, bad, verbose)
        try:
            rig.go(seconds, CONTROL_ROUNDS if bad else None)
        finally:
            rig.end()
        print(rig.summary(), flush=True)
        if bad and not rig.lost:
            print("the control lost nothing: the rig shows nothing")
        elif bad:
            print(f"the control lost mail, as it must: {rig.lost[0]}")
        return bool(rig.lost) == bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("seconds", type=float, nargs="?", default=60)
    p.add_argument("--fs", choices=["ext4", "xfs"])
    p.add_argument("--way", choices=["shutdown", "snapshot"])
    p.add_argument("--bad", action="store_true")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    if os.getuid() != 0:
        print("skipped: only root may mount")
        return 77
    plans = [(fs, way) for fs, way in (("ext4", "shutdown"), ("xfs", "shutdown"), ("ext4", "snapshot"))
             if a.fs in (None, fs) and a.way in (None, way)]
    ok, tried = True, 0
    for fs, way in plans:
        for bad in ([True] if a.bad else [True, False] if (fs, way) == plans[0] else [False]):
            try:
                ok &= try_one(fs, way, a.seconds / len(plans), bad, a.v)
                tried += 1
            except Skip as e:
                print(f"skipped {way} of {fs}: {e}")
    return 77 if not tried else 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
