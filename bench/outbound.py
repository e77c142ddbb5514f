#!/usr/bin/env python3
"""Figures of the way out: submitted until another server has it, side by side with Postfix, in one run, interleaved.

    outbound.py [--only NAME[,NAME]] [--rows WORD[,WORD]] [--reps 5] [--seconds 2] [--before BUILD] [--json FILE] [--dir DIR]

Servers: postamt, which logs every session in and signs (RSA, 2048 bits); no-key, the same without a DKIM key; peer, Postfix
as Debian has it (root; tests/lib/peers.py unpacks it), which trusts the client's address, signs nothing and looks nothing
up: a transport table says where each domain's server is. postamt asks an NSD for MX and address. All keep their defaults
otherwise. The load is 4 KiB messages over 10 sessions in clear; a sink (sink.c) takes everything, at an address of its own
for each domain, and says when the last has come.

Rows "mail out, N domains": messages per second until the sink has all, and CPU of all processes of the server for each,
until it is at rest again; for syncs and system calls strace has a run of its own. Aimed at is twice what Postfix does.
Rows "queue of N": what so many waiting messages cost at the start (until queued has loaded them; its memory then) and to
postamt queue list. About 6 minutes.
"""
import argparse
import importlib.util
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

import bench
import instance  # bench knows where it is
import rows
import zones

SINK = os.path.join(instance.BUILD, "bench", "sink")
FILL = os.path.join(instance.BUILD, "tests", "unit", "queue_fill")
PLACES = (1, 10, 50)
ADDRESS = "127.0.6.%d"  # of d0.test: 1
USERS = 10
SESSIONS = 10
TRIAL = 300             # messages
MOST = 10000            # in one sample
TRACED = 200
ARRIVED_SECONDS = 60
TIMES_PEER = 2          # aimed at
QUEUES = (1000, 10000, 100000)
LOADED = re.compile(r'start what="the queue" messages=(\d+)')


def real_servers():
    """tests/lib/peers.py; bench has a module of that name."""
    spec = importlib.util.spec_from_file_location("real_servers", os.path.join(instance.TOP, "tests", "lib", "peers.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class World:
    """Where the mail goes."""

    def __init__(self, folder):
        self.port = instance.free_ports(1)[0]
        self.addresses = [ADDRESS % (i + 1) for i in range(max(PLACES))]
        self.dns = zones.Server(folder, {f"d{i}.test": f"@ MX 10 mx\nmx A {a}\n" for i, a in enumerate(self.addresses)}, ttl=3600)
        self.sink = None

    def expect(self, count):
        self.sink = subprocess.Popen([SINK, str(self.port), str(count), *self.addresses], stdout=subprocess.PIPE, text=True)
        while True:
            with instance.socket.socket() as s:
                if s.connect_ex((self.addresses[-1], self.port)) == 0:
                    return
            time.sleep(0.01)

    def wait(self, name):
        try:
            return json.loads(self.sink.communicate(timeout=ARRIVED_SECONDS)[0])
        except subprocess.TimeoutExpired:
            raise bench.BenchError(f"{name}: not all messages arrived within {ARRIVED_SECONDS} s of the last 250")
        finally:
            self.sink.kill()
            self.sink.wait()

    def stop(self):
        self.dns.stop()


class Postamt:
    def __init__(self, folder, world, name="postamt", build=instance.BUILD, signs=True):
        self.folder, self.name, self.password = folder, name, instance.PASSWORD
        instance.BUILD = build
        plain = ("submission_plain", "submission", "none", True)
        instance.LISTENERS = [x for x in instance.LISTENERS if x != plain] + [plain]
        self.info = instance.start(folder, USERS, "sha512crypt", settings(world))
        self.ports = {"submission": self.info["ports"]["submission_plain"]}
        try:
            if not signs:
                shutil.rmtree(os.path.join(folder, "auth", "dkim", instance.DOMAIN))  # the command never takes the last one
                self.info = instance.restart(folder)
        except BaseException:  # nothing is left running
            self.stop()
            raise

    def pids(self):
        return instance.descendants(self.info["pid"])

    def stop(self):
        instance.end(self.info["pid"])


def settings(world):
    return (f'outbound = {{ port = {world.port}; private = true; ipv6 = "off"; }};\n{world.dns.settings}'
            "limits = { outbound_per_hour = 0; outbound_per_day = 0; };\n")


class Peer:
    def __init__(self, folder, world):
        self.folder, self.name, self.password = folder, "peer", ""
        os.makedirs(folder, exist_ok=True)
        port = instance.free_ports(1)[0]
        to = {f"d{i}.test": (a, world.port) for i, a in enumerate(world.addresses)}
        self.postfix = real_servers().start("postfix", instance.HOST, port, [], relay=to)
        self.ports = {"submission": port}

    def pids(self):
        return instance.descendants(self.postfix.process.pid)

    def stop(self):
        self.postfix.stop()


# --- mail out ---

def send(server, world, places, ops, sessions=SESSIONS):
    """Seconds until all of it is in the sink."""
    world.expect(ops)
    began = time.monotonic()
    result = bench.run_load(server, "submission", "submit", 0, USERS,
                            [f"--ops={ops}", f"--conns={min(sessions, ops)}", f"--places={places}"])
    accepted = time.monotonic() - began
    if result["ops"] != ops:
        world.sink.kill()
        raise bench.BenchError(f"{server.name}: {result['ops']} of {ops} messages were accepted")
    came = world.wait(server.name)
    return {"seconds": time.monotonic() - began, "accepted": accepted, **{k: came[k] for k in ("connections",)}}


def settle(server):
    for _ in range(20):
        before = bench.cpu_seconds(server.pids())
        time.sleep(0.2)
        if bench.cpu_seconds(server.pids()) - before < 0.002:
            return


def sample(server, world, places, ops):
    before = bench.cpu_seconds(server.pids())
    took = send(server, world, places, ops)
    settle(server)
    cpu = bench.cpu_seconds(server.pids()) - before
    return {rows.RATE: ops / took["seconds"], rows.CPU: cpu * 1e6 / ops, **took}


def out_row(table, servers, world, places, a):
    ops = {}
    for s in servers:
        trial = sample(s, world, places, TRIAL)
        ops[s.name] = int(max(TRIAL, min(MOST, trial[rows.RATE] * a.seconds)))
    found = {s.name: [] for s in servers}
    for _ in range(a.reps):
        for s in servers:
            found[s.name].append(sample(s, world, places, ops[s.name]))
    for unit in (rows.CPU, rows.RATE):
        samples = {n: [x[unit] for x in v] for n, v in found.items()}
        peer = statistics.median(samples["peer"]) if "peer" in samples else None
        aim = None if peer is None else peer * TIMES_PEER if unit == rows.RATE else peer / TIMES_PEER
        table.add(f"mail out, {places} domain{'s' if places > 1 else ''}", unit, samples, aim, unit == rows.RATE, ops=ops, found=found)


def calls_row(table, servers, world, places):
    def work(server):
        send(server, world, places, TRACED)
        time.sleep(2)  # what comes behind
        return TRACED
    found = {s.name: bench.traced(s, lambda: work(s)) for s in servers}
    name = f"mail out, {places} domains"
    table.add(f"{name}: syncs", "syncs", {n: [v["syncs"]] for n, v in found.items()}, found=found)
    table.add(f"{name}: system calls", "calls", {n: [v["calls"]] for n, v in found.items()})


# --- a long queue ---

def listed(folder):
    """Milliseconds until the first line is there, and the last."""
    began = time.monotonic()
    p = subprocess.Popen([os.path.join(folder, "prog", "postamt"), "queue", "list", "--json", "--config",
                          os.path.join(folder, "postamt.conf")], stdout=subprocess.PIPE, cwd="/", **instance.as_nobody())
    p.stdout.readline()
    first = time.monotonic() - began
    p.communicate(timeout=60)
    return first * 1000, (time.monotonic() - began) * 1000


def start_with(folder, count):
    """Seconds from the start until queued says that it has loaded."""
    began = time.monotonic()
    info = instance.load(folder)
    before = len(LOADED.findall(instance.text_of(os.path.join(folder, "log"))))
    info["pid"] = instance.launch(folder)
    instance.save(folder, info)
    while len(LOADED.findall(instance.text_of(os.path.join(folder, "log")))) == before:
        if time.monotonic() - began > instance.START_SECONDS:
            raise bench.BenchError("queued has not loaded its queue")
        time.sleep(0.005)
    return time.monotonic() - began


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def queued_pid(folder):
    for pid in instance.descendants(instance.load(folder)["pid"]):
        with open(f"/proc/{pid}/comm") as f:
            if f.read().strip() == "queued":
                return pid
    raise bench.BenchError("there is no queued")


def queue_row(table, folder, world, count, reps):
    """Nobody listens at the sink's addresses: what is due meets that."""
    d = os.path.join(folder, f"queue{count}")
    info = instance.start(d, 1, "sha512crypt", settings(world))
    instance.end(info["pid"])
    shutil.rmtree(os.path.join(d, "queue"))
    fill = os.path.join(d, "prog", "queue_fill")
    shutil.copy(FILL, fill)
    subprocess.run([fill, os.path.join(d, "queue"), str(count)], check=True, timeout=600, stdout=subprocess.DEVNULL,
                   cwd="/", **instance.as_nobody())
    started, memory, whole, first = [], [], [], []
    for _ in range(reps):
        started.append(start_with(d, count) * 1000)
        memory.append(rss_mib(queued_pid(d)))
        for to, ms in zip((first, whole), listed(d)):
            to.append(ms)
        instance.end(instance.load(d)["pid"])
    for what, unit, samples in (("start", "ms", started), ("queued's memory", "MiB", memory), ("list, first line", "ms", first),
                                ("list, all", "ms", whole)):
        table.add(f"queue of {count}: {what}", unit, {"postamt": samples})


# --- the whole ---

def make(name, folder, world, before):
    if name == "peer":
        return Peer(folder, world)
    return Postamt(folder, world, name, before if name == "before" else instance.BUILD, name != "no-key")


def names_of(a):
    if a.only:
        return a.only.split(",")
    reason = real_servers().missing()
    if reason:
        print(f"no Postfix: {reason}", file=sys.stderr)
    return ["postamt", "no-key"] + ([] if reason else ["peer"]) + (["before"] if a.before else [])


def run(a, folder):
    words = a.rows.split(",") if a.rows else []
    world, servers, names = World(os.path.join(folder, "dns")), [], names_of(a)
    build = instance.BUILD
    try:
        table = bench.Table(names)
        out = [x for x in PLACES if bench.wanted(f"mail out, {x} domains", words)]
        counts_calls = bench.wanted("syncs", words) and shutil.which("strace")
        for n in names if out or counts_calls else []:
            instance.BUILD = build
            servers.append(make(n, os.path.join(folder, n), world, a.before))
        instance.BUILD = build
        for places in out:
            out_row(table, servers, world, places, a)
        if counts_calls:
            calls_row(table, servers, world, 10)
        while servers:
            servers.pop().stop()
        for count in QUEUES if os.path.exists(FILL) else []:  # one of the programs of make check
            if bench.wanted(f"queue of {count}", words):
                queue_row(table, folder, world, count, min(a.reps, 3))
    finally:
        for s in servers:
            s.stop()
        world.stop()
    return {"load": os.getloadavg(), "rows": table.lines}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", help="servers, with commas")
    p.add_argument("--rows", help="only rows that have one of these words")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2, help="of one sample, about")
    p.add_argument("--before", metavar="BUILD", help="another build of postamt, as one more server named before")
    p.add_argument("--json", help="write everything, samples too, to this file")
    p.add_argument("--dir", help="work here and leave it; else a temporary folder")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, bench.on_term)
    folder = a.dir or tempfile.mkdtemp(prefix="postamt-bench-")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    try:
        out = run(a, folder)
    except (bench.BenchError, instance.InstanceError, zones.ZonesError) as e:
        print(f"outbound: {e}", file=sys.stderr)
        return 1
    finally:
        if not a.dir:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"load average {', '.join(f'{x:.1f}' for x in out['load'])}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
