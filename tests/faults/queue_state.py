#!/usr/bin/env python3
"""The queue after damage, without room, with a clock that jumps: nothing that was acknowledged is lost.

The state (a Berkeley DB environment) is damaged in each way while the daemons are down: it is built anew from the files. A
file of the queue that is damaged goes aside, the others go on. The last part needs root, for a disk of its own (else left out)."""
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import instance
import office
import wayout
from full_disk import FULL, fill

GOOD, DEAD = "127.0.7.1", "127.0.7.2"
WAITING = 200
RECIPIENTS = 1000        # of a message; a kilobyte of the state each
START_SECONDS = 5       # of a start with a rebuild, the instance's own second or two in it
LIFE = 5 * 86400        # queue.life
ATTEMPTS = 5            # before that many nobody is given up, however old
LATEST = 5001           # seconds: the longest wait between two tries (queue/schedule.c)
YEARS = 13 * 365 * 86400  # past 2038-01-19
STRANGE = "0" * 13  # the name of a message for what is none
DISK = 20 << 20
BIG = ("x" * 70 + "\r\n") * 6000


def zones(w):
    return {"good.test": w.mx(GOOD), "dead.test": w.mx(DEAD)}


def queue_dir(w, *names):
    return os.path.join(w.office, "queue", *names)


def ids(w):
    return {x["id"] for x in w.queue()}


def down(w, killed):
    """All of it, in order or at once."""
    pids = instance.descendants(w.info["pid"])
    if killed:
        for p in pids:
            os.kill(p, signal.SIGKILL)
    instance.end(w.info["pid"])
    assert office.wait_for(lambda: not any(instance.alive(p) for p in pids))


def up(w):
    began = time.monotonic()
    w.restart()
    w.moved = 0
    return wayout.since(began)


def is_up(w, yes):
    """The second server; on connections that are open too."""
    w.sink[DEAD].replies["mail"] = None if yes else "451 4.3.2 come again"


# --- the state ---

def truncate(part):
    def does(path):
        os.truncate(path, int(os.path.getsize(path) * part))
    return does


def garbage(at, n):
    """at: where, as a part of the whole."""
    def does(path):
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            f.seek(int(size * at))
            f.write(random.Random(4711).randbytes(min(n, size)))
    return does


DAMAGE = [
    ("no regions", "__db.*", os.unlink),
    ("no logs", "log.*", os.unlink),
    ("empty logs", "log.*", truncate(0)),
    ("half of the logs", "log.*", truncate(0.5)),
    ("garbage in the logs", "log.*", garbage(0.5, 1000)),
    ("garbage at the logs' start", "log.*", garbage(0, 64)),
    ("no tables", "tables.db", os.unlink),
    ("empty tables", "tables.db", truncate(0)),
    ("half of the tables", "tables.db", truncate(0.5)),
    ("garbage in the first page", "tables.db", garbage(0, 512)),
    ("garbage in the pages", "tables.db", garbage(0.5, 5000)),
    ("nothing at all", "", shutil.rmtree),
]


def state_is_damaged(w):
    """Whatever happens to it, the start makes it anew from the files."""
    is_up(w, False)
    with w.smtp("submissions", 0) as s:
        for i in range(WAITING):
            w.hand(s, f"x{i}@dead.test", f"waits {i}", w.user(0))
    there = ids(w)
    assert len(there) == WAITING
    worst = 0.0
    for i, (what, names, does) in enumerate(DAMAGE):
        down(w, killed=i % 2)
        for path in glob.glob(os.path.join(queue_dir(w), "state", names)):
            does(path)
        took = up(w)
        worst = max(worst, took)
        assert took < START_SECONDS, f"{what}: started after {took:.1f} s"
        assert ids(w) == there, f"{what}: {len(ids(w))} of {WAITING} messages"
        w.submit("y@good.test", f"after {what}")
        w.sink.find(f"after {what}")
        assert office.wait_for(lambda: len(w.queue()) == WAITING), f"{what}: {len(w.queue())} in the queue"
    print(f"     {len(DAMAGE)} kinds of damage, started after {worst:.1f} s at most", flush=True)
    is_up(w, True)
    all_come(w, DEAD, WAITING)


def all_come(w, address, n):
    """Once: nobody had them before."""
    for _ in range(40):
        w.forward(LATEST)
        if office.wait_for(lambda: not w.queue(), 2, every=0.2):
            break
    w.queue_empty()
    subjects = [m.subject for m in w.sink.messages(address)]
    assert len(subjects) == len(set(subjects)) == n, (len(subjects), len(set(subjects)))
    w.sink.clear()


def done_is_known_or_repeated(w):
    """Two recipients, one of whom has it: with the state he gets no second copy, without it one."""
    is_up(w, False)
    for what, copies in (("kept", 1), ("removed", 2)):
        i = w.submit(["x@good.test", "x@dead.test"], f"state {what}")
        w.event(i, "sent", rcpt="x@good.test")
        w.event(i, "deferred", rcpt="x@dead.test")
        down(w, killed=True)
        if what == "removed":
            shutil.rmtree(queue_dir(w, "state"))
        up(w)
        assert w.queue()[0]["id"] == i
        w.event(i, "deferred", rcpt="x@dead.test")
        assert office.wait_for(lambda: len(w.sink.messages(GOOD)) == copies), len(w.sink.messages(GOOD))
        is_up(w, True)
        w.retry(i, LATEST, name="sent", rcpt="x@dead.test")
        w.queue_empty()
        assert (len(w.sink.messages(GOOD)), len(w.sink.messages(DEAD))) == (copies, 1)
        w.sink.clear()
        is_up(w, False)
    is_up(w, True)


def damage_pages(path):
    with open(path, "r+b") as f:
        for page in range(1, os.path.getsize(path) // 4096):
            f.seek(page * 4096 + 100)
            f.write(b"garbage")


def state_is_damaged_at_work(w):
    """More than fits into memory, damaged while queued runs: it ends when it meets that, and makes it anew."""
    w.expect_log(r" queue-state ", r" internal ", r" role-died .*queued")
    w.sink[DEAD].replies["rcpt"] = "451 4.2.1 " + "x" * 950
    there = [w.submit([f"x{k}-{i}@dead.test" for k in range(RECIPIENTS)], f"many {i}") for i in range(6)]
    assert office.wait_for(lambda: all(w.count(i, "deferred") == RECIPIENTS for i in there), 60)
    before = w.roles()["queued"]["pid"]
    damage_pages(queue_dir(w, "state", "tables.db"))
    w.forward(LATEST)
    assert office.wait_for(lambda: w.roles().get("queued", {}).get("pid") not in (None, before), 20), "the damage was not met"
    assert office.wait_for(lambda: w.cli("queue", "list", check=False).returncode == 0, 10)
    w.moved = 0
    w.sink[DEAD].replies.clear()
    for _ in range(10):
        if office.wait_for(lambda: not w.queue(), 3, every=0.2):
            break
        w.forward(LATEST)
    w.queue_empty()
    got = [r for m in w.sink.messages(DEAD) for r in m.to]
    assert sorted(got) == sorted(f"x{k}-{i}@dead.test" for k in range(RECIPIENTS) for i in range(6)), f"{len(set(got))} had it, {len(got)} copies"
    w.sink.clear()


def refused(w, subject, *words, **kw):
    try:
        w.submit("x@good.test", subject, **kw)
    except AssertionError as e:
        assert all(x in str(e) for x in words), e
        return
    raise AssertionError(f"{subject} was taken")


# --- its files ---

def files_are_damaged(w):
    """Each goes to damaged/ with a line in the log, whether the state knows it or not; the rest is delivered."""
    w.expect_log(r" queue-damaged ", r"its file is not in the queue any more", r" queue-state .*damaged=")
    damage = [truncate(0), truncate(0.3), garbage(0, 8), garbage(0.02, 3), garbage(0.5, 0)]
    for state in ("kept", "removed"):
        is_up(w, False)
        there = [w.submit("x@dead.test", f"file {state} {i}", body="x" * 70 + "\r\n") for i in range(len(damage) + 3)]
        gone = there[:len(damage) - 1]  # the last kind is none
        down(w, killed=True)
        for ident, does in zip(there, damage):
            os.chmod(queue_dir(w, ident), 0o600)
            does(queue_dir(w, ident))
            os.chmod(queue_dir(w, ident), 0o400)
        os.symlink("/etc/passwd", queue_dir(w, STRANGE))
        if state == "removed":
            shutil.rmtree(queue_dir(w, "state"))
        up(w)
        is_up(w, True)
        all_come(w, DEAD, len(there) - len(gone))
        aside = set(os.listdir(queue_dir(w, "damaged")))
        assert set(gone) == aside, (gone, aside)
        for ident in gone:
            w.event(ident, "queue-damaged")
        os.unlink(queue_dir(w, STRANGE))
        for name in aside:
            os.unlink(queue_dir(w, "damaged", name))


# --- the clock ---

def jump_forward_expires_nothing(w):
    """Days pass in a moment: it was tried too seldom to be given up."""
    is_up(w, False)
    for seconds in (3600, LIFE + 3600):
        i = w.submit("x@dead.test", f"jumped {seconds}")
        w.event(i, "deferred")
        e = w.retry(i, seconds)
        assert e.name == "deferred", f"{e.name} after a jump of {seconds} s"
        is_up(w, True)
        w.retry(i, LATEST, name="sent")
        w.queue_empty()
        is_up(w, False)
    is_up(w, True)
    w.sink.clear()


def jump_back_holds_up_nothing(w):
    """Its next try lies days, then years ahead, when the clock goes back: it is made within the longest wait."""
    for seconds in (3600, 10 * 86400, YEARS):
        is_up(w, False)
        w.forward(seconds)
        i = w.submit("x@dead.test", f"from the future {seconds}")
        w.event(i, "deferred")
        w.submit("x@good.test", f"well, {seconds}")
        w.sink.find(f"well, {seconds}")
        w.restart()  # and with it the real time
        w.moved = 0
        is_up(w, True)
        w.retry(i, LATEST, name="sent")
        w.queue_empty()
        assert len(w.sink.messages(DEAD)) == 1
        w.sink.clear()


def sender_is_told_after_2038(w):
    w.forward(YEARS)
    w.sink[GOOD].replies["rcpt"] = "550 5.1.1 nobody of that name"
    w.submit("x@good.test", "no one in 2038")
    d = w.dsn("no one in 2038")
    assert int(d.message["Date"].split()[3]) >= 2038, d.message["Date"]
    w.sink.clear()
    w.restart()
    w.moved = 0


# --- the disk ---

def disk_is_full(w):
    """452 while it is; what waits goes out and what is done stays so; with room again all goes on without a restart."""
    if os.getuid() != 0:
        print("     left out: only root may mount", flush=True)
        return
    w.expect_log(r" queue-refused ", r" queue-state ", r" internal ", r" notify-failed ")
    down(w, killed=False)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700,uid={instance.NOBODY},gid={instance.NOBODY}", "tmpfs", queue_dir(w)],
                   check=True, timeout=60)
    try:
        up(w)
        try:
            full_disk_steps(w)
        finally:
            down(w, killed=False)
    finally:
        subprocess.run(["umount", queue_dir(w)], check=True, timeout=60)
    up(w)


def full_disk_steps(w):
    before = w.roles()["queued"]
    is_up(w, False)
    there = [w.submit("x@dead.test", f"before {i}", body=BIG) for i in range(8)]
    there.append(w.submit(["x@good.test", "x@dead.test"], "half"))
    for i in there:
        w.event(i, "deferred")
    fill(queue_dir(w))
    refused(w, "refused", "452", "4.3.1", FULL, body=BIG)
    w.deliver(office.message("local"))
    w.find("local")
    for _ in range(10):  # tried, until nothing of it can be noted any more
        w.forward(LATEST)
        time.sleep(0.3)
        fill(queue_dir(w))
    failed = len(w.events(name="queue-state"))
    print(f"     {failed} commits failed", flush=True)
    assert set(there) <= set(os.listdir(queue_dir(w)))
    is_up(w, True)
    w.forward(2 * LATEST)
    office.wait_for(lambda: len(w.sink.messages(DEAD)) >= len(there), 5)
    print(f"     with no room: {len(w.sink.messages(DEAD))} of {len(there)} went out", flush=True)
    os.unlink(queue_dir(w, "filler"))
    for _ in range(5):
        w.forward(LATEST)
        if office.wait_for(lambda: not [x for x in os.listdir(queue_dir(w)) if x in there], 2):
            break
    w.submit("x@good.test", "after", body=BIG)
    w.sink.find("after")
    w.queue_empty()
    after = w.roles()["queued"]
    assert before["pid"] == after["pid"], "queued was started anew"
    subjects = [m.subject for m in w.sink.messages(DEAD)]
    assert set(subjects) == {f"before {i}" for i in range(8)} | {"half"}, subjects
    repeats = len(subjects) - len(set(subjects))
    print(f"     {repeats} repeats", flush=True)
    assert repeats == 0, subjects
    assert len([m for m in w.sink.messages(GOOD) if m.subject == "half"]) == 1
    assert not [m for m in w.sink.messages() if m.subject == "refused"]
    assert not glob.glob(queue_dir(w, ".new-*"))
    w.sink.clear()


STEPS = [state_is_damaged, state_is_damaged_at_work, done_is_known_or_repeated, files_are_damaged, jump_forward_expires_nothing, jump_back_holds_up_nothing,
         sender_is_told_after_2038, disk_is_full]

if __name__ == "__main__":
    sys.exit(wayout.main(STEPS, zones=zones, addresses=[GOOD, DEAD]))
