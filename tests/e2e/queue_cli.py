#!/usr/bin/env python3
"""postamt queue through both doors, a control socket and the files themselves with the daemons down: what it shows and changes
in a queue that queue_fill made, what it refuses."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import instance

POSTAMT = os.path.join(instance.BUILD, "postamt")
FILL = os.path.join(instance.BUILD, "tests/unit/queue_fill")
SERVE = os.path.join(instance.BUILD, "tests/unit/queue_serve")
NOBODY = 65534
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print(f"FAIL {what}", flush=True)


class Queue:
    """A configuration with a queue of `count` messages; see tests/unit/queue_fill.c for what is in it."""

    served = False
    running = []

    def __init__(self, d, count):
        self.d = tempfile.mkdtemp(dir=d)
        self.folder = os.path.join(self.d, "queue")
        self.conf = os.path.join(self.d, "postamt.conf")
        with open(self.conf, "w") as f:
            f.write('hostname = "mail.example.test";\npaths = { '
                    + " ".join(f'{x} = "{self.d}/{x}";' for x in ("mail", "state", "spool", "auth", "queue", "run")) + " };\n")
        os.chmod(self.d, 0o755)
        os.chmod(self.conf, 0o644)
        self.ids = subprocess.run([FILL, self.folder, str(count)], check=True, capture_output=True, text=True,
                                  timeout=120).stdout.split() if count else []
        if Queue.served:
            self.serve()

    def serve(self):
        os.makedirs(os.path.join(self.d, "run"))
        p = subprocess.Popen([SERVE, self.folder, os.path.join(self.d, "run/queued.sock")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.running.append(p)
        check(p.stdout.readline() == "ready\n", "queue_serve is not ready")

    @classmethod
    def stop_all(cls):
        for p in cls.running:
            p.stdin.close()
            check(p.wait(timeout=60) == 0, "queue_serve ended badly")
        cls.running.clear()

    def __call__(self, *args, exit=0, say=None):
        r = subprocess.run([POSTAMT, "queue", *args, "--config", self.conf], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=120, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        name = "postamt queue " + " ".join(args)
        check(r.returncode == exit, f"{name}: exit {r.returncode}, not {exit}: {r.stdout}{r.stderr}")
        check(say is None or say in r.stdout + r.stderr, f"{name}: does not say {say!r}: {r.stdout}{r.stderr}")
        return r

    def json(self, *args, exit=0):
        return [json.loads(x) for x in self(*args, "--json", exit=exit).stdout.splitlines()]

    def states(self, *args):
        return {x["id"]: x["state"] for x in self.json("list", *args)}


def empty(d):
    q = Queue(d, 0)
    q(say="The queue is empty.")
    check(os.stat(q.folder).st_mode & 0o777 == 0o700, "mode of a new queue folder")
    check(q.json("list") == [], "list --json of an empty queue")
    q("why", say="The queue is empty.")
    q("drop", "--all", "--yes", say="nothing to do")
    q("suppress", say="No address is suppressed")
    q("show", "0dj3k8m2q4r7t", exit=67, say="not in the queue")


def shows(d):
    q = Queue(d, 40)
    rows = {x["id"]: x for x in q.json("list")}
    check(sorted(rows) == sorted(q.ids), "list does not show every message")
    want = ["active", "deferred", "deferred", "held"]
    check(all(rows[x]["state"] == want[i % 4] for i, x in enumerate(q.ids)), f"states {rows}")
    check(all(rows[x]["recipients"] == rows[x]["left"] == 1 + i % 3 for i, x in enumerate(q.ids)), "recipients")
    check(rows[q.ids[1]]["reason"].startswith("452 4.2.2") and rows[q.ids[1]]["host"] == "mx.d1.test", f"reason {rows[q.ids[1]]}")
    check(rows[q.ids[3]]["next_try"] is None and rows[q.ids[1]]["next_try"].endswith("Z"), "next_try")
    table = q("list").stdout.splitlines()
    check(table[0].split() == ["ID", "AGE", "SIZE", "STATE", "NEXT", "TRY", "LEFT", "FROM", "REASON"] and len(table) == 41, "table")
    check(len(q("--plain").stdout.splitlines()) == 40, "a bare noun lists")

    def chosen(*args):
        return sorted(q.ids.index(x) for x in q.states(*args))
    domain = [i for i in range(40) if any((i + k) % 10 == 3 for k in range(1 + i % 3))]
    check(chosen("--domain", "D3.test") == domain, "--domain")
    check(chosen("--from", "user2@sender.test") == [i for i in range(40) if i % 7 == 2 and i % 10], "--from")
    check(chosen("--from", "<>") == [0, 10, 20, 30], "--from <>")
    check(chosen("--to", "R5@d6.test") == [5], "--to")
    check(chosen("--to", "r5@d6.test", "--from", "<>") == [], "two flags that exclude each other")
    check(chosen(q.ids[7], q.ids[4], q.ids[7]) == [4, 7], "ids")
    show = q.json("show", q.ids[5])
    check(show[0]["from"] == "user5@sender.test" and show[0]["recipients"] == 3 and len(show) == 4, f"show {show}")
    check(show[1]["recipient"] == "r5@d5.test" and show[1]["attempts"] == 2 and show[1]["state"] == "deferred", f"show {show}")
    q("show", q.ids[5], say="r5@d7.test")
    why = q.json("why", q.ids[1])
    check(len(why) == 1 and why[0]["meaning"] == "mailbox-full" and why[0]["recipients"] == 2, f"why {why}")
    q("why", q.ids[1], say="452 4.2.2 The mailbox is over its quota")
    q("why", q.ids[1], "--language", "de", say="Das Postfach des Empf")
    q("why", q.ids[3], say="postamt queue release")
    check(sum(x["recipients"] for x in q.json("why")) == sum(1 + i % 3 for i in range(40)), "why does not tell of every recipient")


def changes(d):
    q = Queue(d, 40)
    before = q.states()
    for verb in ("retry", "hold", "release", "bounce", "drop"):
        q(verb, "--all", "--dry-run", say="nothing was changed")
    check(q.states() == before, "a dry run changed something")
    q("retry", "--all", say="30 messages are to be tried now")
    check(set(q.states().values()) == {"active", "held"}, "retry --all")
    q("release", q.ids[3], say="1 message is released")
    q("release", q.ids[3], say="nothing to do")
    q("hold", "--from", "<>", say="4 messages are held")
    check(q.states(q.ids[3], q.ids[10]) == {q.ids[3]: "active", q.ids[10]: "held"}, "hold, release")
    # one recipient of three: the others stay
    q("bounce", "--to", "r5@d6.test", say="1 message is given up")
    check([x["state"] for x in q.json("show", q.ids[5])[1:]] == ["active", "bouncing", "active"], "bounce --to")
    check(q.json("show", q.ids[5])[2]["reply"].startswith("452"), "the server's words are kept")
    q("bounce", q.ids[4])
    check(q.json("show", q.ids[4])[1]["reply"].startswith("550 5.0.0 the administrator"), "words for who was never tried")
    q("drop", q.ids[0], exit=64, say="--yes")
    check(q.ids[0] in q.states(), "dropped without consent")
    q("drop", "--to", "r5@d7.test", "--yes", say="1 message is dropped")
    check([x["state"] for x in q.json("show", q.ids[5])[1:]] == ["active", "bouncing", "failed"], "drop --to")
    items = q.json("drop", q.ids[0], q.ids[8], "0000000000000", "--yes", exit=2)
    check({x["id"] for x in items if "error" not in x} == {q.ids[0], q.ids[8]}, f"drop --json {items}")
    check(not os.path.exists(os.path.join(q.folder, q.ids[0])) and len(q.states()) == 38, "what was dropped is still there")
    q.stop_all()
    shutil.rmtree(os.path.join(q.folder, "state"))  # the files are the truth; suppressions are not in there
    check(len(q.states()) == 38, "a queue without its state")


def suppressions(d):
    q = Queue(d, 1)
    q("suppress", "add", "Dead@Example.com", "--dry-run", say="would be suppressed")
    check(q.json("suppress", "list") == [], "a dry run suppressed an address")
    q("suppress", "add", "Dead@Example.com", say="is suppressed")
    rows = q.json("suppress")
    check([(x["address"], x["until"]) for x in rows] == [("dead@example.com", None)], f"suppress list {rows}")
    q.stop_all()
    with open(os.path.join(q.folder, "suppressed"), "a") as f:
        f.write("damaged\nmachine@example.com\t1795492000\t99999999999\tmx.example.com\t550 5.1.1 no\n")
    check({x["address"] for x in q.json("suppress", "list")} == {"dead@example.com", "machine@example.com"}, "a damaged line")
    q("suppress", "list", say="for ever")
    q("suppress", "remove", "dead@example.com", say="no longer")
    q("suppress", "remove", "dead@example.com", exit=67)
    q("suppress", "add", "nobody", exit=65)
    q("suppress", "ad", "a@b.test", exit=64, say='did you mean "add"?')
    q("suppress", "add", exit=64, say="name one address")
    q("suppress", "list", "a@b.test", exit=64)


def refusals(d):
    q = Queue(d, 2)
    for verb in ("retry", "hold", "release", "bounce", "drop"):
        q(verb, exit=64, say="no message was chosen")
        q(verb, "0000000000000", *(["--yes"] if verb == "drop" else []), exit=67)
    q("retry", "--yes", "--all", exit=64, say="does not take --yes")
    q("list", "--to", "nobody", exit=65)
    q("list", "--domain", "a b", exit=65)
    q("list", "--from", "", exit=65)
    q("why", "--language", "fr", exit=64, say="en or de")
    q("show", exit=64, say="postamt queue show ID")
    q("lst", exit=64, say='did you mean "list"?')
    check(q.json("show", "../../etc", exit=67)[0]["error"]["code"] == "NO_MESSAGE", "show --json of what is not there")
    check(q.json("list", "0000000000000", q.ids[0], exit=2)[0]["error"]["code"] == "NO_MESSAGE", "partly there")


def pages(d):
    q = Queue(d, 2500)
    check(sorted(q.states()) == sorted(q.ids), "2,500 messages: some are missing or told twice")
    q("hold", "--all", say="1875 messages are held")
    q("drop", "--all", "--yes", say="2500 messages are dropped")
    q("list", say="The queue is empty.")


def as_root(d):
    """Root leaves the queue's files to their owner."""
    if os.getuid() != 0:
        return
    q = Queue(d, 3)
    for folder, _, files in os.walk(q.folder):
        for x in (folder, *(os.path.join(folder, f) for f in files)):
            os.chown(x, NOBODY, NOBODY)
    q("retry", "--all")
    q("suppress", "add", "dead@example.com")
    for folder, _, files in os.walk(q.folder):
        for x in (folder, *(os.path.join(folder, f) for f in files)):
            check(os.stat(x).st_uid == NOBODY, f"{x} is not its owner's any more")
    copy = shutil.copy(POSTAMT, q.d)  # the build may lie where others cannot go
    r = subprocess.run([copy, "queue", "--config", q.conf], capture_output=True, text=True, timeout=60, user=1, group=1,
                       extra_groups=[], cwd="/")
    check(r.returncode == 77 and "not yours" in r.stderr, f"another user: {r}")


def main():
    d = tempfile.mkdtemp(prefix="postamt-queue-")
    os.chmod(d, 0o755)
    try:
        for Queue.served in (True, False):
            for part in (empty, shows, changes, suppressions, refusals, pages):
                part(d)
                Queue.stop_all()
        as_root(d)
    finally:
        for p in Queue.running:
            p.kill()
        shutil.rmtree(d, ignore_errors=True)
    print("queue_cli: " + (f"{len(failures)} failures" if failures else "fine"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
