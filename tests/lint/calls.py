#!/usr/bin/env python3
"""Which system calls that the sandbox allows does no process of ours make in the whole suite?

calls.py TEST..          (root, strace; skipped otherwise)
calls.py --reduce DIR    what tests/lib/strace.py writes becomes one file of what each role called

Runs each test with POSTAMT_TRACE_CALLS, so that all processes of the instances it starts are under strace from their
first instruction, and compares what was called with common/sandbox_calls.c: a call that no role with its group ever made
is a finding, and so are values of fcntl and prctl, unless the comment above the groups says why it stays. A
reason for a call that is in no group is a finding too.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
import strace  # noqa: E402

TEST_SECONDS = 240
LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)")
MADE = re.compile(r"= (0x[0-9a-f]+|\d+)(?: \(.*\))?$")
ROLE = re.compile(r'"--role", "([a-z0-9.]+)"')
FORKS = ("clone", "clone3", "fork", "vfork")
# calls whose argument decides -> which it is
ARGUMENT = {"fcntl": 1, "prctl": 0}


def read(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


# --- what is allowed ---

def groups():
    """group -> calls; those that are allowed by argument too, as "fcntl F_GETFD"."""
    text, found = read("common", "sandbox_calls.c"), {}
    for name, body in re.findall(r"\{CALLS_(\w+),\s*\{(.*?)\}\s*\}", text, re.S):
        found[name] = re.findall(r"SCMP_SYS\((\w+)\)", body)
    by_argument = text[text.index("static int add_by_argument"):]

    def values(array):
        body = re.search(rf"\b{array}\[\] = \{{(.*?)\}}", by_argument, re.S)[1]
        return re.findall(r"\w+", body)

    found["BASE"] += [f"fcntl {x}" for x in values("fcntls")]
    found["BASE"] += ["mmap", "mprotect", "prlimit64", "socketpair"]
    found["WRITE"] += ["utimensat"]
    found["SPAWN"] += ["clone"] + [f"prctl {x}" for x in values("spawn_prctls")]
    found["THREADS"] += ["clone"]
    found["CONNECT"] += ["socket"]
    return found


def stays():
    """The calls that the comment above the groups gives a reason for."""
    note = re.search(r"tests/lint/calls\.py(.*?)\*/", read("common", "sandbox_calls.c"), re.S)[1]
    listed = re.findall(r"^ \* ((?:\w+(?: [A-Z_]+)?, )*\w+(?: [A-Z_]+)?):", note, re.M)
    return {x.strip() for names in listed for x in names.split(",")}


def rows():
    """role as the sandbox names it -> its groups"""
    found = {}
    for name, calls in re.findall(r'\.name = "([a-z0-9.]+)",\s*\.calls = ([A-Z_| \n]+)', read("common", "sandbox.c")):
        found[name] = re.findall(r"CALLS_(\w+)", calls)
    return found


# --- what is called ---

class Reducer:
    """Reads strace -f. What counts is what comes after the filter stands; a worker is what a spawner forked, from the
    moment it has a filter of its own."""

    def __init__(self):
        self.role, self.filters = {}, collections.Counter()
        self.early = collections.defaultdict(list)  # a child's lines may come before its parent's fork returns
        self.used = set()

    def line(self, line):
        m = LINE.match(line)
        if not m:
            if "+++" in line:
                pid = int(line.split()[0])
                self.role.pop(pid, None), self.filters.pop(pid, None), self.early.pop(pid, None)
            return
        pid, call = int(m[1]), m[2]
        if pid not in self.role:
            if call == "execve" or pid == next(iter(self.role), pid):
                self.role[pid] = ""  # the first: postamtd
            else:
                self.early[pid].append(line)
                return
        if call in FORKS:
            made = MADE.search(line)
            if made and int(made[1], 0):
                self.forked(pid, int(made[1], 0))
        resumed = "<... " in line[:24]
        if call == "execve" and not resumed:
            role = ROLE.search(line)
            self.role[pid] = role[1] if role else ""
        if self.filters[pid] and not resumed:
            self.count(pid, call, line)
        if call == "prctl" and "PR_SET_SECCOMP" in line and not resumed:
            self.filters[pid] += 1

    def forked(self, parent, child):
        if child in self.role:
            return
        self.role[child] = self.role[parent]
        self.filters[child] = self.filters[parent]
        for line in self.early.pop(child, []):
            self.line(line)

    def count(self, pid, call, line):
        role = self.role[pid]
        if role.endswith(".spawner") and self.filters[pid] > 1:
            role = role.replace("spawner", "worker")
        self.used.add((role, call))
        if call in ARGUMENT:
            args = re.findall(r"\w+", line[line.index("(") + 1:])
            self.used.add((role, f"{call} {args[ARGUMENT[call]]}"))


def reduce_to(folder):
    name = os.path.join(folder, f"{os.getpid()}-{time.monotonic_ns()}")
    with open(name + ".part", "w") as out:
        r = Reducer()
        for line in sys.stdin.buffer:
            r.line(line.decode(errors="replace").rstrip("\n"))
        out.writelines(f"{role} {call}\n" for role, call in sorted(r.used))
    os.rename(name + ".part", name + ".calls")


def run(test, folder):
    """The test's own result is not ours to judge: time goes slower under strace."""
    env = dict(os.environ, POSTAMT_TRACE_CALLS=folder, FAULT_SECONDS="5")
    started = time.monotonic()
    with open(os.path.join(folder, "log"), "ab") as log:
        try:
            rc = subprocess.run([sys.executable, test], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                timeout=TEST_SECONDS).returncode
            said = {0: "done", 77: "skipped"}.get(rc, f"ended with {rc}, as it may when it is watched")
        except subprocess.TimeoutExpired:
            said = f"not done after {TEST_SECONDS} s"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(x.endswith(".part") for x in os.listdir(folder)):
        time.sleep(0.1)
    print(f"{os.path.basename(test)}: {said}, {time.monotonic() - started:.0f} s", flush=True)


def seen(folder):
    used = collections.defaultdict(set)
    for name in os.listdir(folder):
        if name.endswith(".calls"):
            with open(os.path.join(folder, name)) as f:
                for line in f:
                    role, call = line.rstrip("\n").split(" ", 1)
                    used[role].add(call)
    return used


def judge(used):
    allowed, of_role, kept, bad = groups(), rows(), stays(), []
    bad += [f"{role}: no process of it was seen" for role in of_role if not used[role]]
    for group, calls in sorted(allowed.items()):
        roles = [r for r, g in of_role.items() if group in g]
        made = set().union(*(used[r] for r in roles))
        bad += [f"{group}: {call}: none of {', '.join(roles)} makes it" for call in calls
                if call not in made and call not in kept]
        print(f"{group}: never made, with a reason:", *sorted(x for x in calls if x not in made and x in kept))
    known = {x for calls in allowed.values() for x in calls}
    return bad + [f"{call}: a reason without a call" for call in sorted(kept - known)]


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--reduce":
        reduce_to(sys.argv[2])
        return 0
    why = strace.missing()
    if why:
        print(f"skipped: {why}")
        return 77
    with tempfile.TemporaryDirectory(prefix="postamt-calls-") as folder:
        for test in sys.argv[1:]:
            run(test, folder)
        used = seen(folder)
    bad = judge(used)
    print("\n".join(bad))
    print(f"{sum(len(x) for x in used.values())} calls of {len(used)} roles seen, {len(bad)} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
