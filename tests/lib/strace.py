"""Watches and disturbs the system calls of one running process: strace(1), as root.

    with strace.attach(pid, "inject=fdatasync:error=EIO:when=1", out=path) as t:
        ..
    for c in strace.calls(path): ..

A call that is made to fail is replaced by getpid, which every filter of ours allows: with strace's own choice, no call at
all, the filter would end the process.
"""
import collections
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

Call = collections.namedtuple("Call", "name nth fd path result line")
ATTACH_SECONDS = 10
LINE = re.compile(r"^(?:(\d+) +)?(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
FIRST_FD = re.compile(r"^(\d+)<([^>]*)>")
RESULT = re.compile(r"\)\s+= (\S+)")


def missing():
    """Why it cannot be used here, or None."""
    if os.getuid() != 0:
        return "only root may look into the server's processes"
    if not shutil.which("strace"):
        return "strace is not installed"
    return None


def fault(name, nth, what):
    """The expression: the nth call of that name is the process' last, fails with an errno, or writes one octet."""
    if what == "KILL":
        return f"inject={name}:signal=KILL:when={nth}"
    how = "retval=1" if what == "SHORT" else f"error={what}"
    return f"inject={name}:{how}:syscall=getpid:when={nth}"


# Arguments are shown as numbers, which needs no look into the process; but for those that tests/lint/calls.py reads.
SHOWN = "execve,prctl,fcntl,clone,clone3,fork,vfork"


def traced(args, who, folder):
    """For Popen: the program under strace, which sees it and all that it starts from the first instruction, and ends with
    the last of them. The program stays the child of its starter. What it called goes through tests/lint/calls.py into
    the folder."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sink = [sys.executable, os.path.join(top, "tests", "lint", "calls.py"), "--reduce", folder]
    how = ["strace", "-D", "-f", "-qq", "-s", "64", "-e", "signal=none", "-e", f"raw=!{SHOWN}", "-o",
           "|exec " + shlex.join(sink)]
    if "user" in who:
        how, who = [*how, "-u", "nobody"], {}
    return [*how, *args], who


class Attached:
    def __init__(self, pids, expressions, out):
        self.pids, self.out = pids if isinstance(pids, list) else [pids], out
        with open(out + ".err", "w") as err:
            args = [x for e in expressions for x in ("-e", e)]
            for pid in self.pids:
                args += ["-p", str(pid)]
            self.child = subprocess.Popen(["strace", "-y", "-s", "32", "-o", out, *args], stderr=err)
        deadline = time.monotonic() + ATTACH_SECONDS
        while True:
            with open(out + ".err") as f:
                said = f.read()
            if said.count(" attached") == len(self.pids):
                break
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise RuntimeError(f"strace could not look into process {self.pids}: {said}")
            time.sleep(0.005)

    def end(self):
        """Lets the process go on alone; all its calls are in the file then."""
        if self.child.poll() is None:
            self.child.terminate()
        self.child.wait(10)


@contextlib.contextmanager
def attach(pids, *expressions, out):
    """pids: a process that has one thread, or a list of threads; each of them counts its calls for itself."""
    a = Attached(pids, expressions, out)
    try:
        yield a
    finally:
        a.end()


def calls(out):
    """What it called, in order; nth counts the calls of one name (of one thread), as strace does."""
    seen, found = collections.Counter(), []
    for line in whole_lines(out):
        m = LINE.match(line)
        if not m or m[2] == "restart_syscall":
            continue
        seen[m[1], m[2]] += 1
        fd, result = FIRST_FD.match(m[3]), RESULT.search(line)
        found.append(Call(m[2], seen[m[1], m[2]], int(fd[1]) if fd else -1, fd[2] if fd else "", result[1] if result else "", line))
    return found


def whole_lines(out):
    """A call that another thread's line came into is one line again, where it began."""
    lines, begun = [], {}
    with open(out, errors="replace") as f:
        for line in f:
            line = line.rstrip("\n")
            end = RESUMED.match(line)
            if end and end[1] in begun:
                lines[begun.pop(end[1])] += end[2]
                continue
            if line.endswith("<unfinished ...>"):
                line = line[:-len("<unfinished ...>")].rstrip()
                begun[line.split()[0]] = len(lines)
            lines.append(line)
    return lines


def was_killed(out):
    with open(out, errors="replace") as f:
        return "+++ killed by SIGKILL +++" in f.read()
