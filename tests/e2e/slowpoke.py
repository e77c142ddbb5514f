#!/usr/bin/env python3
"""One dead destination does not slow the others; without name servers mail here goes on. slowpoke.py [--long]

1,000 messages (--long: 10,000) wait for a server that says nothing; the time from the reply to a message's text until the sink
has it must stay what it was: p99 within 10 %, and the noise of a busy machine besides."""
import sys
import time

import badserver
import office
import wayout

GOOD, DEAD, CLOSED = "127.0.5.1", "127.0.5.2", "127.0.5.3"
LONG = wayout.long_form()
WAITING = 10000 if LONG else 1000
MEASURED = 300 if LONG else 100
NOISE = 0.05  # seconds


def zones(w):
    return {"good.test": w.mx(GOOD), "dead.test": w.mx(DEAD), "closed.test": w.mx(CLOSED)}


def measure(w, what):
    """Seconds of each message on its way out; one after the other."""
    taken = {}
    with w.smtp("submissions", 0) as s:
        for i in range(MEASURED):
            w.hand(s, "x@good.test", f"{what} {i}", w.user(0))
            taken[f"{what} {i}"] = time.monotonic()
            time.sleep(0.005)
    got = w.sink.wait(MEASURED, GOOD, where=lambda m: m.subject.startswith(what + " "), seconds=40)
    late = [m.when - taken[m.subject] for m in got]
    p50, p99 = wayout.percentile(late, 50), wayout.percentile(late, 99)
    print(f"     {what}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms", flush=True)
    return p50, p99


def fill(w, domain, n):
    with w.smtp("submissions", 0) as s:
        for i in range(n):
            w.hand(s, f"x{i}@{domain}", f"waits {i}", w.user(0))


def others_go_on(w):
    w.sink[DEAD].replies["greeting"] = badserver.SILENT
    w.sink.down(CLOSED)
    measure(w, "warm")
    before = [measure(w, "before") for _ in range(2)]
    began = time.monotonic()
    fill(w, "dead.test", WAITING // 2)
    fill(w, "closed.test", WAITING // 2)
    print(f"     {WAITING} messages to dead servers taken in {wayout.since(began):.1f} s", flush=True)
    after = [measure(w, "beside"), measure(w, "still beside")]
    assert w.sink.peak(DEAD) <= 20, f"{w.sink.peak(DEAD)} connections to a dead server at a time"
    allowed = max(x[1] for x in before) * 1.1 + NOISE
    assert min(x[1] for x in after) <= allowed, f"p99 was {before}, is {after}"


def queue_is_quick(w):
    """List and start with all of them waiting."""
    began = time.monotonic()
    rows = w.queue()
    assert len(rows) == WAITING, len(rows)
    print(f"     listed in {wayout.since(began):.2f} s", flush=True)
    assert wayout.since(began) < 2 + WAITING / 2000
    began = time.monotonic()
    w.restart()
    w.moved = 0
    print(f"     started anew in {wayout.since(began):.2f} s", flush=True)
    assert wayout.since(began) < 10
    measure(w, "after the start")


def dead_comes_back(w):
    """The servers are back: all of it arrives, once."""
    w.sink[DEAD].reset()
    w.sink.up(CLOSED)
    for _ in range(40):
        w.forward(5001)
        if office.wait_for(lambda: len(w.sink.messages(DEAD)) + len(w.sink.messages(CLOSED)) >= WAITING, 3, every=0.2):
            break
    w.queue_empty()
    for a in (DEAD, CLOSED):
        subjects = [m.subject for m in w.sink.messages(a)]
        assert len(subjects) == len(set(subjects)) == WAITING // 2, (len(subjects), len(set(subjects)))


def no_name_servers(w):
    """DNS is down: mail here is as quick, mail elsewhere waits and then goes."""
    w.dns.stop()
    ids = [w.submit(f"x@good{i}.test", f"no dns {i}") for i in range(5)]
    took = []
    with w.smtp() as s:
        for i in range(50):
            began = time.monotonic()
            s.sendmail("a@sender.test", [w.user(0)], office.message(f"local {i}"))
            took.append(wayout.since(began))
    w.find("local 49")
    assert wayout.percentile(took, 90) < 0.5, f"{sorted(took)[-5:]} s for a mail to a mailbox here"
    for ident in ids:
        assert w.event(ident, "deferred", seconds=40)["reason"] == "dns"
    w.dns.update({f"good{i}.test": w.mx(GOOD) for i in range(5)})
    w.dns.start()
    time.sleep(5)  # the resolver remembers a failure so long
    for ident in ids:
        for _ in range(5):
            if w.count(ident, "sent") or w.retry(ident).name == "sent":
                break
        w.event(ident, "sent")


STEPS = [others_go_on, queue_is_quick, dead_comes_back, no_name_servers]

if __name__ == "__main__":
    sys.exit(wayout.main(STEPS, zones=zones, addresses=[GOOD, DEAD, CLOSED]))
