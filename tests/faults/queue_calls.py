#!/usr/bin/env python3
"""Each system call of queued on a message's way out: once the last one, once one that fails.

queue_calls.py [--points N] [--only SCENARIO] [-v]     (as syscalls.py has it, whose Sweep this is)

A message over AUTH to two servers elsewhere and to a mailbox here, from 250 until the queue is empty; and one that nobody
takes, until its sender is told. queued's loop, its writers and its syncer are swept one by one: strace counts the calls of each
thread. After each point hours may pass (the test clock). What must be true then: what was acknowledged came to everybody,
once, and once more after a kill at most (elsewhere; never here); what was refused came at most so often; the sender was told
once, after a kill at most twice; the queue is empty, and no file is left behind in it for good.
"""
import argparse
import collections
import os
import re
import smtplib
import sys
import time

import control
import instance
import office
import strace
import syscalls
import wayout
from syscalls import Bad

ONE, TWO, NOBODY = "127.0.6.1", "127.0.6.2", "127.0.6.3"
WRITERS = 8             # threads of queued (queue/queued.c)
RUN_SECONDS = 1.0       # for a message that nothing holds up
SETTLE_SECONDS = 30
STEP = 700              # seconds that the clock is moved: more than the first retry takes
ID = re.compile(r"[0-9a-z]{13}")
WAITS = ("futex", "restart_syscall", "epoll_wait", "epoll_pwait", "epoll_pwait2")  # how often is a matter of luck


class World(wayout.WayOut):
    """The instance and what must have come where: token -> where -> (least, most)."""

    def __init__(self):
        zones = {"one.test": self.mx(ONE), "two.test": self.mx(TWO), "nobody.test": self.mx(NOBODY)}
        super().__init__(lambda w: zones, [ONE, TWO, NOBODY])
        self.expected, self.came = {}, collections.Counter()
        self.serial, self.seen, self.looked = 0, 0, set()
        self.back, self.told, self.deleted = 0.0, 0, set()

    def __enter__(self):
        super().__enter__()
        self.sink[NOBODY].replies["rcpt"] = "550 5.1.1 nobody of that name"
        self.d = self.dir
        return self

    def token(self):
        self.serial += 1
        return f"token-{self.serial}"

    def folder(self, *names):
        return os.path.join(self.office, "queue", *names)

    def waiting(self):
        return [x for x in os.listdir(self.folder()) if ID.fullmatch(x)]

    def queued(self):
        """Its pid; None: it is not there."""
        for pid in instance.descendants(self.info["pid"]):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().decode().split("\0")
            except OSError:
                continue
            if "--role" in words and words[words.index("--role") + 1] == "queued":
                return pid
        return None

    def look(self):
        """Counts what came since the last look: (token, where) -> copies; where: an address of the sink, here, told."""
        messages = self.sink.messages()
        for m in messages[self.seen:]:
            self.came[m.subject, m.address] += 1
        self.seen = len(messages)
        for path in self.files():
            name = os.path.basename(path).split(":")[0]
            if name in self.looked:
                continue
            self.looked.add(name)
            with open(path, "rb") as f:
                text = f.read()
            token = re.findall(rb"(?m)^Subject: .*?(token-\d+)", text)[-1].decode()
            self.came[token, "told" if b"multipart/report" in text.split(b"\r\n\r\n", 1)[0] else "here"] += 1

    def has_come(self, token):
        self.look()
        return all(self.came[token, where] >= least for where, (least, _) in self.expected[token].items())

    def settle(self):
        """The queue gets empty, however long it takes by its own clock."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.waiting():
            if time.monotonic() > deadline:
                raise Bad(f"still in the queue after {self.moved} s of its clock: {self.waiting()}")
            try:
                self.forward(STEP)
            except (OSError, control.ControlError):  # it is being started
                pass
            office.wait_for(lambda: not self.waiting(), 0.5)

    def audit(self):
        self.settle()
        office.wait_for(lambda: all(self.has_come(t) for t in self.expected), 2)
        ghosts = [x for x in self.queue() if x["left"]]  # others: their files' folder could not be synced
        if ghosts:
            raise Bad(f"records of what is not there any more: {ghosts}")
        wrong = [f"{t} came {self.came[t, where]} times to {where}, not {least} to {most}" for t, places in self.expected.items()
                 for where, (least, most) in places.items() if not least <= self.came[t, where] <= most]
        # until the end: nobody may have more of it later
        self.expected = {t: {where: (0, most) for where, (_, most) in places.items()} for t, places in self.expected.items()}
        if wrong:
            raise Bad("; ".join(wrong))

    def staged(self):
        return [x for x in os.listdir(self.folder()) if x.startswith(".new-")]

    def audit_folder(self, kills):
        """A kill may leave one half written message, which goes at a start when it is old; nothing else is there."""
        if len(self.staged()) > kills:
            raise Bad(f"left in the queue's folder after {kills} kills: {self.staged()}")
        if self.queue():
            raise Bad(f"records of what is not there any more: {self.queue()}")
        if os.listdir(self.folder("damaged")):
            raise Bad(f"damaged: {os.listdir(self.folder('damaged'))}")


class Leave:
    """A message to two servers and to a mailbox here, seen from one kind of queued's threads."""

    long = False
    to = {ONE: "x@one.test", TWO: "x@two.test", "here": None}

    def __init__(self, world, name, threads):
        self.w, self.name, self.role, self.threads = world, name, "queued", threads

    def connect(self):
        self.s = self.w.smtp("submissions", 0)

    def prepare(self):
        self.connect()
        self.pid = self.w.queued()
        tids = [int(x) for x in os.listdir(f"/proc/{self.pid}/task")]
        if len(tids) != 2 + WRITERS:
            raise Bad(f"queued has {len(tids)} threads")
        return tids[self.threads]

    def hand_in(self):
        """As imap_try has it: OK, NO or None, and what was said."""
        token = self.w.token()
        text = office.message(token, "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 1000, self.w.user(0), "x@one.test")
        try:
            for said in (self.s.mail(self.w.user(0)), *(self.s.rcpt(a or self.w.user(0)) for a in self.to.values()), self.s.data(text)):
                if said[0] != 250:
                    break
            return token, ("OK" if said[0] == 250 else "NO", f"{said[0]} {said[1].decode()}")
        except (smtplib.SMTPException, OSError) as e:
            return token, (None, str(e))

    def run(self):
        w = self.w
        token, result = self.hand_in()
        least = result[0] == "OK"
        w.expected[token] = {where: (least, 1) for where in self.to}
        office.wait_for(lambda: not instance.alive(self.pid) or least <= w.has_come(token) and not w.waiting(), RUN_SECONDS, every=0.01)
        time.sleep(0.15)  # for the records, which go a moment later
        if not instance.alive(self.pid):  # a repeat elsewhere, and of what the sender is told, none here
            w.expected[token] = {where: (least, 1 + (where != "here")) for where in self.to}
        return [result]

    def goes_on(self):
        return self.s.noop()[0] == 250

    def probe(self):
        self.connect()
        token, result = self.hand_in()
        if result[0] != "OK":
            raise OSError("not yet")
        self.w.expected[token] = {where: (1, 1) for where in self.to}

    def close(self):
        self.s.close()


class Notice(Leave):
    """One that is refused for good: the sender is told."""

    to = {"told": "x@nobody.test"}


class Sweep(syscalls.Sweep):
    def fail(self, c, what):
        before = self.w.staged()
        self.fail_on(c) if what == "EIO+" else super().fail(c, what)
        left = set(self.w.staged()) - set(before)
        if left and c.name != "unlinkat":
            raise Bad(f"left: {left}")

    def points_to_try(self, calls, files):
        return super().points_to_try(calls, files) + [(c, "EIO+") for c in self.some(files)]

    def fail_on(self, c):
        """All calls of that name from this one on, until the message had its time. Berkeley DB then tries write(2), which
        wakes the loop elsewhere."""
        ill = [f"inject={c.name}:error=EIO:syscall=getpid:when={c.nth}+"]
        if "/state/" in c.path:
            ill.append("inject=write:error=EIO:syscall=getpid:when=1+")
        _, _, results, _ = self.once(*ill)
        if not instance.alive(self.s.pid):
            raise Bad(f"the process died of it: {results}")
        if not self.s.goes_on():
            raise Bad("the session did not go on")
        self.s.close()
        self.audit()
        self.tally["failed for a while: " + ("said so" if results[0][0] == "NO" else "done all the same")] += 1

    def prepare(self):
        if self.kills >= syscalls.KILLS_OF_A_ROLE:
            self.w.restart()
            self.w.moved = self.kills = 0
        return self.s.prepare()

    def audit(self):
        self.w.audit()

    def once(self, *expressions):
        _, began, results, calls = super().once(*expressions)
        return self.s.pid, began, results, [c for c in calls if c.name not in WAITS]

    @staticmethod
    def may_be_short(files):
        return [c for c in files if c.name == "pwrite64" and "yyyyyyyy" in c.line]

    @staticmethod
    def check_short(calls, at):
        def size_and_place(c):
            return [int(x) for x in re.search(r", (\d+), (\d+)\)\s+= ", c.line).groups()]
        wanted, place = size_and_place(calls[at])
        again = next((c for c in calls[at + 1:] if c.name == "pwrite64" and c.fd == calls[at].fd), None)
        if not again or size_and_place(again) != [wanted - 1, place + 1]:
            raise Bad("the rest of a short write was not written")

    def recover(self):
        """After a finding: an instance that is whole, and nothing expected."""
        self.s.close()
        self.w.restart()
        self.w.moved = self.kills = 0
        for name in self.w.waiting():
            self.w.cli("queue", "drop", name, "--yes", check=False)
        self.w.look()
        self.w.expected.clear()


SCENARIOS = [(Leave, "leave", slice(0, 1)), (Leave, "leave-writers", slice(1, 1 + WRITERS)), (Leave, "leave-syncer", slice(1 + WRITERS, None)),
             (Notice, "notice", slice(0, 1))]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--points", type=int, default=int(os.environ.get("FAULT_POINTS", "6")))
    p.add_argument("--only")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    why = strace.missing() or wayout.missing()
    if why:
        print(f"skipped: {why}")
        return 77
    bad, kills = [], 0
    with World() as w:
        try:
            for kind, name, threads in SCENARIOS:
                if a.only in (None, name):
                    sweep = Sweep(w, kind(w, name, threads), a.points, a.v)
                    bad += sweep.all()
                    kills += sweep.tally["killed"]
            try:
                w.restart()
                w.audit()
                w.audit_folder(kills)
            except Bad as e:
                bad.append(str(e))
                print(e)
        except BaseException:
            print(instance.log_tail(w.office, 40))
            raise
        finally:
            w.stop()
    twice = sum(n > 1 for n in w.came.values())
    print(f"back after {w.back:.2f} s at most; {len(w.expected)} messages, {sum(w.came.values())} copies, {twice} of them repeats; {len(bad)} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
