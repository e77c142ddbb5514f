"""One role alone: this process is postamtd and all of its peers (common/role.h, common/ipc.h).

    with role.Role("lookup/resolverd", "resolverd", instance.config_text(..), peers=["queued"]) as r:
        r.peer["queued"].send("DNS_ASK", 1, "example.test", 15)
        kind, octets = r.peer["queued"].recv(seconds)      # a Message; fields by octets.u64(), octets.text(), ..
        r.logged()                                          # the role's log so far

The role is fenced as in a running server and, as root, has the uid of nobody. Leaving the block ends it.
"""
import array
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import strace
from instance import BUILD, TOP, as_nobody

VERSION, MAX, SECONDS = 1, 65536, 20
# 3 and 4 are taken for good: the pipe that Popen has for itself must not be there, where the child gets its channels
TAKEN = [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]


def types():
    with open(os.path.join(TOP, "common", "ipc.h")) as f:
        return re.findall(r"^ {4}X\((\w+), \d+,", f.read(), re.M)


TYPES = types()


class Message:
    """What came: fields in the order of the table in common/ipc.h."""

    def __init__(self, octets):
        version, kind = struct.unpack("=HH", octets[:4])
        assert version == VERSION, version
        self.type, self.rest = TYPES[kind], octets[4:]

    def take(self, n):
        assert len(self.rest) >= n, f"{self.type} is too short"
        head, self.rest = self.rest[:n], self.rest[n:]
        return head

    def u64(self):
        return struct.unpack("=Q", self.take(8))[0]

    def octets(self):
        return self.take(struct.unpack("=I", self.take(4))[0])

    def text(self):
        return self.octets().decode()


class Channel:
    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for s in (self.ours, self.theirs):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX)

    def send(self, kind, *fields, fds=()):
        out = struct.pack("=HH", VERSION, TYPES.index(kind))
        for f in fields:
            if isinstance(f, int):
                out += struct.pack("=Q", f)
            else:
                f = f.encode() if isinstance(f, str) else f
                out += struct.pack("=I", len(f)) + f
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.ours.sendmsg([out], rights)

    def recv(self, seconds=SECONDS):
        """None: it closed its end."""
        self.ours.settimeout(seconds)
        octets = self.ours.recv(MAX)
        return Message(octets) if octets else None


def memory_file(text):
    fd = os.memfd_create("config")
    os.write(fd, text.encode())
    return fd


class Role:
    def __init__(self, program, name, config, peers=(), folder="/tmp"):
        self.program = os.path.join(folder, os.path.basename(program))  # the build folder may lie where nobody cannot go
        shutil.copy(os.path.join(BUILD, program), self.program)
        os.chmod(self.program, 0o755)
        self.control, self.log, self.log_lines = Channel(), Channel(), []
        self.peer = {}
        env = dict(os.environ)
        env.setdefault("POSTAMT_SECCOMP", "kill")
        env.pop("ASAN_OPTIONS", None)
        ends = [fcntl.fcntl(c.theirs, fcntl.F_DUPFD_CLOEXEC, 10) for c in (self.control, self.log)]

        def place():
            for i, fd in enumerate(ends):
                os.dup2(fd, 3 + i)

        args, who = [self.program, "--role", name, "--instance", "0"], as_nobody()
        if env.get("POSTAMT_TRACE_CALLS"):  # tests/lint/calls.py wants to know what each role calls
            args, who = strace.traced(args, who, env["POSTAMT_TRACE_CALLS"])
        self.process = subprocess.Popen(args, preexec_fn=place, pass_fds=(3, 4), cwd="/", env=env, **who)
        for fd in ends:
            os.close(fd)
        self.control.theirs.close()
        self.log.theirs.close()
        self.configure(config)
        for p in peers:
            self.connect(p)
        self.control.send("ROLE_GO")
        ready = self.control.recv()
        assert ready and ready.type == "ROLE_READY", f"{name} did not start: {self.logged()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.control.send("ROLE_STOP")
            self.process.wait(SECONDS)
        except BrokenPipeError:
            pass  # it ended already
        finally:
            self.process.kill()
            self.process.wait()

    def configure(self, config):
        fd = memory_file(config)
        self.control.send("ROLE_CONFIG", "postamt.conf", fds=[fd])
        os.close(fd)

    def connect(self, peer, number=0):
        """A new channel to that peer, in place of an earlier one."""
        c = self.peer[peer] = Channel()
        self.control.send("ROLE_PEER", peer, number, fds=[c.theirs.fileno()])
        c.theirs.close()

    def status(self):
        self.control.send("ROLE_STATUS_ASK")
        return self.control.recv().text()

    def logged(self):
        self.log.ours.setblocking(False)
        try:
            while line := self.log.ours.recv(MAX):
                self.log_lines.append(line.decode(errors="replace"))
        except BlockingIOError:
            pass
        return "\n".join(self.log_lines)

    def died_by(self):
        """The signal that ended it; None: it runs, or ended by itself."""
        code = self.process.poll()
        return signal.Signals(-code).name if code is not None and code < 0 else None
