#!/usr/bin/env python3
"""Figures: postamt side by side with Postfix + Dovecot, in one run, interleaved.

    bench.py [--only NAME[,NAME]] [--rows WORD[,WORD]] [--reps 5] [--seconds 0.6] [--json FILE] [--dir DIR]

Servers: postamt (from POSTAMT_BUILD), and, as root with the Debian packages postfix, dovecot-imapd, dovecot-pop3d and
dovecot-lmtpd, peer (as they come) and peer-fast (reused processes, password cache). Everything lives in one throw-away
folder and on free loopback ports; all passwords are SHA512-CRYPT. For each row every server has a trial, which tells how
many operations take --seconds, then each has its turn, repetition by repetition. The table (rows.py) shows the least,
the median and the greatest of ours, the peers' medians, what is aimed at and how far that is.

CPU is what the kernel says of all processes of the server, children that ended included, divided by operations: compare
that first, wall time (per s) is worth something on a quiet machine only. A mail counts when it lies in the recipient's
Maildir. System calls and syncs are counted by strace in a run of their own. Memory is the PSS that the connections add
to a fresh server. It asks nothing, and every step has a limit of time; the whole is done in about 12 minutes.
"""
import argparse
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
sys.path.insert(0, HERE)
import instance  # noqa: E402
import peers  # noqa: E402
import rows  # noqa: E402

LOAD = os.path.join(instance.BUILD, "bench", "load")
DISK = os.path.join(instance.BUILD, "bench", "disk")
TICK = os.sysconf("SC_CLK_TCK")
DELIVERED_SECONDS = 60   # until the last mail lies in its Maildir
LOAD_SECONDS = 120
REST_SECONDS = 30        # at most, until a server that was filled is at rest
SETTLE_SECONDS = 0.1     # what a server does after its last answer belongs to the sample
TRACED = 100             # mails under strace


class BenchError(Exception):
    pass


class Postamt:
    def __init__(self, folder, name="postamt", build=instance.BUILD):
        self.folder, self.name, self.build = folder, name, build
        instance.BUILD = build  # whose programs are copied
        self.info = instance.start(folder, 1, "sha512crypt")
        try:
            self.accounts()
        except BaseException:  # SIGTERM too: nothing is left running
            self.stop()
            raise
        self.ports = self.info["ports"]
        self.maildir = self.info["maildir"]
        self.password = instance.PASSWORD

    def accounts(self):
        """By hash, as from another server: 690 passwords to SCRAM verifiers would take half a minute."""
        hashed = peers.hashed(instance.PASSWORD) + "\n"
        for i in range(1, rows.USERS):
            instance.cli(self.folder, "account", "add", f"u{i}@{instance.DOMAIN}", "--hash", stdin=hashed)

    def pids(self):
        return instance.descendants(self.info["pid"])

    def restart(self):
        instance.BUILD = self.build
        self.info = instance.restart(self.folder)

    def stop(self):
        instance.end(self.info["pid"])


def thread_seconds(pid):
    """Of a process' living threads, exact where the tick is coarse; 0 where the kernel does not count so."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def cpu_seconds(pids):
    """Of the processes and of their children that ended and were waited for."""
    total = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                user, system, dead_user, dead_system = (int(x) for x in f.read().rsplit(")", 1)[1].split()[11:15])
            total += (dead_user + dead_system) / TICK + max((user + system) / TICK, thread_seconds(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


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
    try:
        r = subprocess.run(load_command(server, port, mode, first, users, extra), capture_output=True, text=True,
                           timeout=LOAD_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{server.name}: load {mode} took more than {LOAD_SECONDS} s")
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


def deliver(server, first, users, extra, rcpts=1):
    """Mail by SMTP until the last lies in its Maildir; the time until then."""
    before, began = mails(server, first, users), time.monotonic()
    result = run_load(server, "smtp", "smtp", first, users, extra)
    late = 0.0
    while mails(server, first, users) - before < result["ops"] * rcpts:
        if time.monotonic() - began > DELIVERED_SECONDS + result["seconds"]:
            there = mails(server, first, users) - before
            raise BenchError(f"{server.name}: only {there} of {result['ops'] * rcpts} mails arrived")
        time.sleep(0.02)
        late = time.monotonic()
    if late:
        result["seconds"] = late - began
    return result


def set_aside(server, first, users):
    """The inbound Maildirs grow from row to row otherwise. Nothing is deleted: a file system without a journal makes
    every new file pay for those that went a moment ago."""
    aside = os.path.join(server.folder, "aside")
    os.makedirs(aside, exist_ok=True)
    for u in range(first, first + users):
        new = os.path.join(server.maildir % u, "new")
        if not os.path.isdir(new):
            continue
        st = os.stat(new)
        fresh = f"{new}.fresh"
        os.mkdir(fresh, st.st_mode & 0o7777)
        os.chown(fresh, st.st_uid, st.st_gid)
        os.chmod(fresh, st.st_mode & 0o7777)
        os.rename(new, os.path.join(aside, f"{u}.{time.monotonic_ns()}"))
        os.rename(fresh, new)


def fill(server):
    deliver(server, rows.BIG, 1, [f"--ops={rows.BIG_MESSAGES}", "--conns=10"])
    for u in range(rows.MIXED, rows.MIXED + rows.MIXED_USERS):
        deliver(server, u, 1, [f"--ops={rows.MIXED_MESSAGES}", "--conns=5"])
    # every account once: mailboxes made, passwords known where they are kept, names moved to cur
    for first, users in ((rows.BIG, 1), (rows.MIXED, rows.MIXED_USERS), (rows.LOGINS, rows.LOGIN_USERS),
                         (rows.APPENDS, rows.APPEND_USERS)):
        for u in range(first, first + users):
            run_load(server, "imap_plain", "session", u, 1, ["--ops=1"])
    for first, users in ((rows.BIG, 1), (rows.LOGINS, rows.LOGIN_USERS)):
        for u in range(first, first + users):
            run_load(server, "pop3_plain", "pop3", u, 1, ["--ops=1"])
    deliver(server, rows.INBOUND, rows.INBOUND_USERS, ["--ops=200", "--conns=10"])
    set_aside(server, rows.INBOUND, rows.INBOUND_USERS)


def rest(server):
    """Until nothing is left of the first logins: authd makes SCRAM verifiers behind them, others write caches."""
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        before = cpu_seconds(server.pids())
        time.sleep(0.5)
        if cpu_seconds(server.pids()) - before < 0.005:
            return


def rcpts_of(extra):
    return next((int(x.partition("=")[2]) for x in extra if x.startswith("--rcpts=")), 1)


def sample(server, row, ops):
    first, users = rows.WHOSE.get(row.mode, (rows.BIG, 1))
    messages = rows.MIXED_MESSAGES if row.mode == "mixed" else rows.BIG_MESSAGES
    args = [f"--ops={ops}", f"--messages={messages}", *row.extra]
    before = cpu_seconds(server.pids())
    if row.mode == "smtp":
        result = deliver(server, first, users, args, rcpts_of(row.extra))
    else:
        result = run_load(server, row.port, row.mode, first, users, args)
    time.sleep(SETTLE_SECONDS)
    cpu = cpu_seconds(server.pids()) - before
    if row.mode == "smtp":
        set_aside(server, first, users)
    done = max(result["ops"] * row.weight, 1)
    return {rows.CPU: cpu * 1e6 / done, rows.RATE: done / result["seconds"], "ops": result["ops"],
            "errors": result["errors"]}


def ops_for(server, row, seconds):
    """As many operations as take so long: servers differ by a factor of fifty."""
    trial = sample(server, row, row.at_first)
    return max(2, min(row.ops, int(trial[rows.RATE] / row.weight * seconds)))


def traced(server, work):
    """System calls and syncs for a mail, by strace on every process of the server. work: does some, says how many."""
    out = os.path.join(server.folder, "strace.txt")
    attach = [x for pid in server.pids() for x in ("-p", str(pid))]
    p = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", out, *attach], stderr=subprocess.DEVNULL)
    time.sleep(2)
    try:
        done = work()
    finally:
        p.send_signal(signal.SIGINT)
        p.wait(timeout=30)
    with open(out) as f:
        calls = {m.group(2): int(m.group(1)) for m in re.finditer(r"(?m)^\s*(\d+)\s+(\w+)$", f.read())}
    calls.pop("total", None)
    syncs = sum(calls.get(x, 0) for x in ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync"))
    return {"calls": sum(calls.values()) / done, "syncs": syncs / done,
            "by_name": {k: round(v / done, 2) for k, v in sorted(calls.items(), key=lambda x: -x[1])}}


def system_calls(server, rcpts):
    found = traced(server, lambda: deliver(server, rows.INBOUND, rows.INBOUND_USERS,
                                           [f"--ops={TRACED}", "--conns=1", f"--rcpts={rcpts}"], rcpts)["ops"])
    set_aside(server, rows.INBOUND, rows.INBOUND_USERS)
    return found


def idle_memory(server, conns, per_user):
    """KiB of PSS that each idle connection adds to a server that has just started."""
    server.restart()
    run_load(server, "imaps", "session", rows.IDLERS, 1, ["--ops=4", "--conns=2", "--tls"])
    before = pss_kib(server.pids())
    p = subprocess.Popen(
        load_command(server, "imaps", "idle", rows.IDLERS, -(-conns // per_user),
                     [f"--conns={conns}", f"--per-user={per_user}", "--tls", "--ops=1"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        result = json.loads(p.stdout.readline())
        if result["idle"] != conns:
            raise BenchError(f"{server.name}: {result['idle']} of {conns} connections are idle")
        time.sleep(3)
        pids = server.pids()
        after = pss_kib(pids)
    finally:
        p.stdin.close()
        try:
            p.wait(timeout=60)
        except subprocess.TimeoutExpired:
            p.kill()
    return {"KiB": (after - before) / conns, "tree_mib": after / 1024, "processes": len(pids)}


def disk_alone(folder, reps):
    """What every durable delivery must do, without a server: the floor under the rows of mail."""
    where = os.path.join(folder, "disk")
    os.makedirs(where, exist_ok=True)
    found = []
    for _ in range(reps):
        r = subprocess.run([DISK, where, "500", "4096"], capture_output=True, text=True, timeout=LOAD_SECONDS,
                           stdin=subprocess.DEVNULL)
        if r.returncode != 0:
            raise BenchError(f"disk: {r.stderr.strip()}")
        found.append(json.loads(r.stdout))
    return found


# --- the table ---

class Table:
    def __init__(self, names):
        self.names, self.lines = names, []
        print(f"{'row':<38}{'unit':>7}" + f"{names[0] + ' min':>14}{'median':>10}{'max':>10}"
              + "".join(f"{n:>11}" for n in names[1:]) + f"{'aim':>8}  verdict", flush=True)

    def add(self, row, unit, samples, aim=None, more_is_better=False, **more):
        """samples: server -> list of figures. Shown at once."""
        medians = {n: statistics.median(samples[n]) for n in self.names if samples.get(n)}
        ours = medians.get(self.names[0])
        judged = rows.verdict(ours, [medians[n] for n in self.names[1:] if n in medians and n.startswith("peer")], aim,
                              more_is_better)
        self.lines.append({"row": row, "unit": unit, "samples": samples, "medians": medians, "aim": aim,
                           "verdict": judged, **more})
        first = samples.get(self.names[0]) or [0]
        print(f"{row:<38}{unit:>7}{short(min(first)):>14}{short(ours or 0):>10}{short(max(first)):>10}"
              + "".join(f"{short(medians[n]) if n in medians else '-':>11}" for n in self.names[1:])
              + f"{'-' if aim is None else short(aim):>8}  {judged}", flush=True)


def short(x):
    return f"{x:.0f}" if x >= 100 or x == int(x) else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def wanted(name, words):
    return not words or any(w in name for w in words)


def run_rows(table, servers, chosen, a, deadline):
    for row in chosen:
        ops = {s.name: ops_for(s, row, a.seconds) for s in servers}
        samples = {s.name: [] for s in servers}
        for _ in range(a.reps):
            for s in servers:
                samples[s.name].append(sample(s, row, ops[s.name]))
            if time.monotonic() > deadline:
                break
        for unit in (rows.CPU, rows.RATE):
            table.add(row.name, unit, {n: [x[unit] for x in v] for n, v in samples.items()}, row.aims.get(unit),
                      unit == rows.RATE, ops=ops, errors={n: sum(x["errors"] for x in v) for n, v in samples.items()})


def run_syncs(table, servers, words):
    for name, rcpts, aim in rows.SYNC_ROWS:
        if not wanted(name, words):
            continue
        found = {s.name: system_calls(s, rcpts) for s in servers}
        table.add(name, "syncs", {n: [v["syncs"]] for n, v in found.items()}, aim)
        table.add(name.replace("syncs", "system calls"), "calls", {n: [v["calls"]] for n, v in found.items()},
                  by_name={n: v["by_name"] for n, v in found.items()})


def run_idle(table, servers, words):
    for name, conns, per_user, aim in rows.IDLE_ROWS:
        if wanted(name, words):
            found = {s.name: idle_memory(s, conns, per_user) for s in servers}
            table.add(name, "KiB", {n: [v["KiB"]] for n, v in found.items()}, aim, found=found)


def run(a, folder):
    makers = {"postamt": Postamt, **peers.makers(rows.USERS, instance.PASSWORD)}
    if a.before:
        makers["before"] = lambda folder: Postamt(folder, "before", a.before)
    names = a.only.split(",") if a.only else list(makers)
    for n in names:
        if n not in makers:
            raise BenchError(f"there is no {n} here; there is {', '.join(makers)} (the peers need root and their packages)")
    words = a.rows.split(",") if a.rows else []
    chosen = [r for r in rows.ROWS if wanted(r.name, words)]
    deadline = time.monotonic() + a.minutes * 60
    servers = []
    try:
        for n in names:
            servers.append(makers[n](os.path.join(folder, n)))
            if chosen or wanted("syncs", words):
                fill(servers[-1])
                rest(servers[-1])
        table = Table(names)
        if wanted(rows.DISK_ROW, words):
            found = disk_alone(folder, a.reps)
            table.add(rows.DISK_ROW, rows.CPU, {names[0]: [x["us"] for x in found]})
            table.add(rows.DISK_ROW, rows.RATE, {names[0]: [x["per_s"] for x in found]})
        run_rows(table, servers, chosen, a, deadline)
        if shutil.which("strace"):
            run_syncs(table, servers, words)
        run_idle(table, servers, words)
    finally:
        for s in servers:
            s.stop()
    return {"load": os.getloadavg(), "rows": table.lines}


def on_term(number, frame):
    """The servers are stopped on the way out."""
    sys.exit(128 + number)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", help="servers, with commas")
    p.add_argument("--rows", help="only rows that have one of these words; 'syncs' and 'idle' are words too")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--seconds", type=float, default=0.6, help="of one sample, about")
    p.add_argument("--minutes", type=float, default=12, help="after these each row has one repetition only")
    p.add_argument("--json", help="write everything, samples too, to this file")
    p.add_argument("--before", metavar="BUILD", help="another build of postamt, as one more server named before")
    p.add_argument("--dir", help="work here and leave it; else a temporary folder")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, on_term)
    folder = a.dir or tempfile.mkdtemp(prefix="postamt-bench-")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    began = time.monotonic()
    try:
        out = run(a, folder)
    except (BenchError, instance.InstanceError, peers.PeersError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    finally:
        if not a.dir:
            shutil.rmtree(folder, ignore_errors=True)
    out["seconds"] = time.monotonic() - began
    print(f"{out['seconds']:.0f} s; load average {', '.join(f'{x:.1f}' for x in out['load'])}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
