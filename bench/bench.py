#!/usr/bin/env python3
"""Figures: postamt side by side with Postfix + Dovecot, in one run, interleaved.

    bench.py [--only NAME[,NAME]] [--rows WORD[,WORD]] [--reps 5] [--scale 1.0] [--json FILE] [--dir DIR]

Servers: postamt (from POSTAMT_BUILD), and, as root with the Debian packages postfix, dovecot-imapd, dovecot-pop3d and
dovecot-lmtpd, peer (as they come) and peer-fast (reused processes, password cache). Everything lives in one throw-away
folder and on free loopback ports. For each row every server has its turn, then the next repetition; the table shows
medians. CPU is what /proc says of all processes of the server, children that ended included, divided by operations:
compare that first, machines are noisy. A mail counts when it lies in the recipient's Maildir. System calls and syncs
are counted by strace in a run of their own. Memory is the PSS the connections add to a fresh server.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "lib"))
import instance  # noqa: E402
import peers  # noqa: E402

LOAD = os.path.join(instance.BUILD, "bench", "load")
TICK = os.sysconf("SC_CLK_TCK")
USERS = 520
BIG, BIG_MESSAGES = 0, 2000        # u0: the mailbox of the FETCH rows
MIXED, MIXED_USERS, MIXED_MESSAGES = 10, 20, 100
LOGINS, LOGIN_USERS = 40, 50
INBOUND, INBOUND_USERS = 100, 100
APPENDS = 300
IDLERS = 20                        # u20 on: idle connections; their mailboxes are empty or small
DELIVERED_SECONDS = 60

# name, port, mode, operations, messages one operation stands for, further arguments of load
ROWS = [
    ("mail in, 1 session", "smtp", "smtp", 600, 1, ["--conns=1"]),
    ("mail in, 10 sessions", "smtp", "smtp", 1500, 1, ["--conns=10"]),
    ("mail in, 50 sessions", "smtp", "smtp", 1500, 1, ["--conns=50"]),
    ("mail in, 10, a connection each", "smtp", "smtp", 1000, 1, ["--conns=10", "--per-session=1"]),
    ("IMAP login, 10 clients", "imap_plain", "login", 1500, 1, ["--conns=10"]),
    ("IMAP login, 10 clients, TLS", "imaps", "login", 600, 1, ["--conns=10", "--tls"]),
    ("IMAP login and SELECT, 10 clients", "imap_plain", "session", 1000, 1, ["--conns=10"]),
    ("POP3 login and STAT, 10 clients", "pop3_plain", "pop3", 1500, 1, ["--conns=10"]),
    ("POP3 login and STAT, 10 clients, TLS", "pop3s", "pop3", 600, 1, ["--conns=10", "--tls"]),
    ("IMAP mixed, 10 clients, with logins", "imap_plain", "mixed", 6000, 1, ["--conns=10", "--per-session=8"]),
    ("IMAP mixed, 10 clients, staying", "imap_plain", "mixed", 10000, 1, ["--conns=10"]),
    ("IMAP mixed, 10 clients, staying, TLS", "imaps", "mixed", 10000, 1, ["--conns=10", "--tls"]),
    ("IMAP NOOP", "imap_plain", "noop", 10000, 1, []),
    ("APPEND 4 KiB, 1 client", "imap_plain", "append", 600, 1, []),
    ("STORE one at a time", "imap_plain", "store", 4000, 1, []),
    ("FETCH 4 KiB one at a time", "imap_plain", "fetch-one", 6000, 1, []),
    ("FETCH 4 KiB one at a time, TLS", "imaps", "fetch-one", 6000, 1, ["--tls"]),
    ("FETCH 4 KiB in one command", "imap_plain", "fetch-bulk", 10, BIG_MESSAGES, []),
    ("FETCH 4 KiB in one command, TLS", "imaps", "fetch-bulk", 10, BIG_MESSAGES, ["--tls"]),
    ("FETCH FLAGS of all", "imap_plain", "fetch-flags", 50, BIG_MESSAGES, []),
    ("FETCH ENVELOPE of all, warm", "imap_plain", "fetch-envelope", 10, BIG_MESSAGES, []),
    ("POP3 RETR 4 KiB one at a time", "pop3_plain", "retr", 4000, 1, []),
]
IDLE_ROWS = [("idle IMAPS, 500, 20 per user", 500, 20), ("idle IMAPS, 500, one per user", 500, 1)]
WHOSE = {"smtp": (INBOUND, INBOUND_USERS), "login": (LOGINS, LOGIN_USERS), "session": (MIXED, MIXED_USERS),
         "pop3": (LOGINS, LOGIN_USERS), "mixed": (MIXED, MIXED_USERS), "append": (APPENDS, 1)}


class BenchError(Exception):
    pass


class Postamt:
    def __init__(self, folder, name="postamt", build=instance.BUILD):
        self.folder, self.name = folder, name
        instance.BUILD = build  # whose programs are copied
        self.info = instance.start(folder, USERS, "sha512crypt")
        self.ports = self.info["ports"]
        self.maildir = self.info["maildir"]
        self.password = instance.PASSWORD

    def pids(self):
        return instance.descendants(self.info["pid"])

    def stop(self):
        instance.end(self.info["pid"])


def cpu_seconds(pids):
    """Of the processes and of their children that ended and were waited for."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                ticks += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:15])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return ticks / TICK


def pss_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        except (FileNotFoundError, ProcessLookupError, AttributeError):
            pass
    return total


def load_command(server, port, mode, first, users, extra):
    return [LOAD, mode, f"--port={server.ports[port]}",
            f"--password={server.password}", f"--first-user={first}", f"--users={users}", *extra]


def run_load(server, port, mode, first, users, extra):
    r = subprocess.run(load_command(server, port, mode, first, users, extra), capture_output=True, text=True,
                       timeout=600, stdin=subprocess.DEVNULL)
    try:
        result = json.loads(r.stdout)
    except json.JSONDecodeError:
        raise BenchError(f"{server.name}: load {mode} ended with {r.returncode}: {r.stderr[-500:]}")
    if result["errors"]:
        print(f"bench: {server.name}: load {mode}: {result['errors']} errors: {r.stderr[:300]}", file=sys.stderr)
    return result


def mails(server, first, users):
    """Names in the Maildirs: a delivered mail is one."""
    total = 0
    for u in range(first, first + users):
        for folder in ("new", "cur"):
            try:
                total += len(os.listdir(os.path.join(server.maildir % u, folder)))
            except FileNotFoundError:
                pass
    return total


def deliver(server, first, users, extra):
    """Mail by SMTP until the last lies in its Maildir; the time until then."""
    before, began = mails(server, first, users), time.monotonic()
    result = run_load(server, "smtp", "smtp", first, users, extra)
    late = 0.0
    while mails(server, first, users) - before < result["ops"]:
        if time.monotonic() - began > DELIVERED_SECONDS + result["seconds"]:
            raise BenchError(f"{server.name}: only {mails(server, first, users) - before} of {result['ops']} mails arrived")
        time.sleep(0.01)
        late = time.monotonic()
    if late:
        result["seconds"] = late - began
    return result


def empty(server, first, users):
    """The inbound Maildirs grow from row to row otherwise."""
    for u in range(first, first + users):
        for name in glob.glob(os.path.join(server.maildir % u, "new", "*")):
            os.unlink(name)


def fill(server):
    deliver(server, BIG, 1, [f"--ops={BIG_MESSAGES}", "--conns=10"])
    for u in range(MIXED, MIXED + MIXED_USERS):
        deliver(server, u, 1, [f"--ops={MIXED_MESSAGES}", "--conns=5"])
    # every account once: mailboxes made, passwords known where they are kept, names moved to cur
    for first, users in ((BIG, 1), (MIXED, MIXED_USERS), (LOGINS, LOGIN_USERS), (APPENDS, 1)):
        for u in range(first, first + users):
            run_load(server, "imap_plain", "session", u, 1, ["--ops=1"])
    for first, users in ((BIG, 1), (LOGINS, LOGIN_USERS)):
        for u in range(first, first + users):
            run_load(server, "pop3_plain", "pop3", u, 1, ["--ops=1"])


def measure(server, row, scale):
    name, port, mode, ops, weight, extra = row
    first, users = WHOSE.get(mode, (BIG, 1))
    messages = MIXED_MESSAGES if mode == "mixed" else BIG_MESSAGES
    ops = max(int(ops * scale), 2)
    args = [f"--ops={ops}", f"--messages={messages}", *extra]
    before = cpu_seconds(server.pids())
    if mode == "smtp":
        result = deliver(server, first, users, args)
        empty(server, first, users)
    else:
        result = run_load(server, port, mode, first, users, args)
    cpu = cpu_seconds(server.pids()) - before
    done = max(result["ops"] * weight, 1)
    return {"us_per_op": cpu * 1e6 / done, "ops_per_s": done / result["seconds"], "errors": result["errors"]}


def system_calls(server, ops):
    """System calls and syncs for a mail, by strace on every process of the server."""
    out = os.path.join(server.folder, "strace.txt")
    attach = [x for pid in server.pids() for x in ("-p", str(pid))]
    p = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out, *attach], stderr=subprocess.DEVNULL)
    time.sleep(2)
    try:
        done = deliver(server, INBOUND, INBOUND_USERS, [f"--ops={ops}", "--conns=1"])["ops"]
    finally:
        p.send_signal(signal.SIGINT)
        p.wait(timeout=30)
    empty(server, INBOUND, INBOUND_USERS)
    with open(out) as f:
        calls = {m.group(2): int(m.group(1)) for m in re.finditer(r"(?m)^\s*(\d+)\s+(\w+)$", f.read())}
    calls.pop("total", None)
    syncs = sum(calls.get(x, 0) for x in ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync"))
    return {"calls": sum(calls.values()) / done, "syncs": syncs / done,
            "by_name": {k: round(v / done, 2) for k, v in sorted(calls.items(), key=lambda x: -x[1])}}


def idle_memory(make, folder, conns, per_user):
    """KiB of PSS that each idle connection adds to a server that has just started."""
    server = make(folder)
    try:
        run_load(server, "imaps", "session", IDLERS, 1, ["--ops=4", "--conns=2", "--tls"])
        before = pss_kib(server.pids())
        p = subprocess.Popen(
            load_command(server, "imaps", "idle", IDLERS, -(-conns // per_user),
                         [f"--conns={conns}", f"--per-user={per_user}", "--tls", "--ops=1"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            result = json.loads(p.stdout.readline())
            if result["idle"] != conns:
                raise BenchError(f"{server.name}: {result['idle']} of {conns} connections are idle")
            time.sleep(3)
            after = pss_kib(server.pids())
        finally:
            p.stdin.close()
            p.wait(timeout=60)
        return {"kib": (after - before) / conns, "tree_mib": after / 1024}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def wanted(name, words):
    return not words or any(w in name for w in words)


def run_rows(servers, rows, reps, scale):
    table = []
    for row in rows:
        samples = {s.name: [] for s in servers}
        for _ in range(reps):
            for s in servers:
                samples[s.name].append(measure(s, row, scale))
        line = {"row": row[0], "samples": samples, "median": {
            n: {k: statistics.median(x[k] for x in v) for k in ("us_per_op", "ops_per_s")} for n, v in samples.items()}}
        table.append(line)
        show(line, [s.name for s in servers])
    return table


def show(line, names):
    cells = []
    for n in names:
        m = line["median"][n]
        cells.append(f"{m['us_per_op']:10.1f} us {m['ops_per_s']:10.0f}/s")
    print(f"{line['row']:<40}" + "".join(cells), flush=True)


def show_calls(name, calls):
    top = ", ".join(f"{k} {v:g}" for k, v in list(calls["by_name"].items())[:16])
    print(f"{name + ': system calls, syncs for a mail':<40}{calls['calls']:8.1f} {calls['syncs']:6.2f}   {top}", flush=True)


def run(a, folder):
    makers = {"postamt": Postamt, **peers.makers(USERS, instance.PASSWORD)}
    if a.before:
        makers["before"] = lambda folder: Postamt(folder, "before", a.before)
    names = a.only.split(",") if a.only else list(makers)
    for n in names:
        if n not in makers:
            raise BenchError(f"there is no {n} here; there is {', '.join(makers)} (the peers need root and their packages)")
    words = a.rows.split(",") if a.rows else []
    rows = [r for r in ROWS if wanted(r[0], words)]
    out = {"rows": [], "calls": {}, "memory": []}
    servers = []
    try:
        print(f"{'CPU of the server for one; wall':<40}" + "".join(f"{n:>25}" for n in names), flush=True)
        if rows or wanted("syncs", words):
            for n in names:
                servers.append(makers[n](os.path.join(folder, n)))
                fill(servers[-1])
        out["rows"] = run_rows(servers, rows, a.reps, a.scale)
        if wanted("syncs", words) and shutil.which("strace"):
            for s in servers:
                out["calls"][s.name] = system_calls(s, 200)
                show_calls(s.name, out["calls"][s.name])
    finally:
        for s in servers:
            s.stop()
    for name, conns, per_user in IDLE_ROWS:
        if wanted(name, words):
            line = {"row": name, "servers": {}}
            for n in names:
                line["servers"][n] = idle_memory(makers[n], os.path.join(folder, n + "-idle"), conns, per_user)
            out["memory"].append(line)
            print(f"{name:<40}" + "".join(f"{v['kib']:8.1f} KiB ({v['tree_mib']:4.0f} MiB)" for v in line["servers"].values()),
                  flush=True)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", help="servers, with commas")
    p.add_argument("--rows", help="only rows that have one of these words; 'syncs' and 'idle' are words too")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--scale", type=float, default=1.0, help="times the operations of each row")
    p.add_argument("--json", help="write everything, samples too, to this file")
    p.add_argument("--before", metavar="BUILD", help="another build of postamt, as one more server named before")
    p.add_argument("--dir", help="work here and leave it; else a temporary folder")
    a = p.parse_args()
    folder = a.dir or tempfile.mkdtemp(prefix="postamt-bench-")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    try:
        out = run(a, folder)
    except (BenchError, instance.InstanceError, peers.PeersError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    finally:
        if not a.dir:
            shutil.rmtree(folder, ignore_errors=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
