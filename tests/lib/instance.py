#!/usr/bin/env python3
"""An unprivileged postamt on free loopback ports with all its data in one folder.

    instance.py start DIR [--users N] [--hash sha512crypt] | stop DIR | reload DIR | restart DIR

Prints one JSON object that says where it listens, who its users are and where their mail lies. Also a module: tests
call start() and stop(). As root everything runs as user nobody.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import strace

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("POSTAMT_BUILD", os.path.join(TOP, "build"))
DOMAIN = "example.test"
HOST = "127.0.0.1"
TLS_NAME = "mail.example.test"
PASSWORD = "Einschreiben-4711"
NOBODY = 65534
START_SECONDS = 30

# name in the JSON, service, tls, login in clear
LISTENERS = [
    ("smtp", "smtp", "starttls", False),
    ("submission", "submission", "starttls", False),
    ("submissions", "submission", "tls", False),
    ("imap", "imap", "starttls", False),
    ("imaps", "imap", "tls", False),
    ("pop3", "pop3", "starttls", False),
    ("pop3s", "pop3", "tls", False),
    ("imap_plain", "imap", "none", True),
    ("pop3_plain", "pop3", "none", True),
]
PROGRAMS = ["auth/authd", "smtpd/smtpd", "imapd/imapd", "pop3d/pop3d", "queue/queued", "queue/sender", "lookup/resolverd",
            "lookup/fetchd", "postamt", "postamtd"]


class InstanceError(Exception):
    pass


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    try:
        for s in socks:
            s.bind((HOST, 0))
        return [s.getsockname()[1] for s in socks]
    finally:
        for s in socks:
            s.close()


def as_nobody():
    """For Popen: gives up root; a person's own uid stays."""
    if os.getuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def config_text(d, ports, hash_scheme, extra):
    listen = ",\n".join(
        '    { service = "%s"; tls = "%s"; address = "%s"; port = %d; plain_login = %s; }'
        % (service, tls, HOST, ports[name], "true" if plain else "false")
        for name, service, tls, plain in LISTENERS)
    return f"""# made by bootstrap; see man/postamt.conf.5
hostname = "{TLS_NAME}";
paths = {{ mail = "{d}/mail"; state = "{d}/state"; spool = "{d}/spool"; auth = "{d}/auth"; queue = "{d}/queue"; run = "{d}/run"; }};
tls = {{ dir = "{d}/tls"; }};
log = {{ to = "{d}/log"; level = "{os.environ.get('POSTAMT_LOG_LEVEL', 'info')}"; }};
auth = {{ hash = "{hash_scheme}"; }};
listen = (
{listen}
);
{extra}
"""


def copy_programs(d):
    """The build folder may lie where nobody cannot go."""
    prog = os.path.join(d, "prog")
    os.makedirs(prog, exist_ok=True)
    for name in PROGRAMS:
        target = os.path.join(prog, os.path.basename(name))
        fresh = target + ".new"
        shutil.copy(os.path.join(BUILD, name), fresh)
        os.chmod(fresh, 0o755)
        os.rename(fresh, target)


def load(d):
    try:
        with open(os.path.join(d, "instance.json")) as f:
            return json.load(f)
    except FileNotFoundError:
        raise InstanceError(f"{d} holds no instance; make one with: ./bootstrap instance start {d}")


def cli(d, *args, stdin=None, check=True):
    """The postamt command, as the instance's user."""
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")  # it lives for one command
    r = subprocess.run([os.path.join(d, "prog", "postamt"), *args, "--config", os.path.join(d, "postamt.conf")],
                       env=env, input=stdin, text=True, capture_output=True, timeout=120, cwd="/", **as_nobody())
    if check and r.returncode != 0:
        raise InstanceError(f"postamt {' '.join(args)} ended with {r.returncode}: {r.stderr.strip()}")
    return r


def descendants(pid):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parents.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        todo.extend(parents.get(p, []))
    return out


def log_tail(d, lines=15):
    try:
        with open(os.path.join(d, "log"), errors="replace") as f:
            return "".join(f.readlines()[-lines:])
    except FileNotFoundError:
        return ""


def launch(d):
    """Starts postamtd and waits until all roles are ready; returns its pid."""
    env = dict(os.environ)
    env.setdefault("POSTAMT_SECCOMP", "kill")
    env.pop("ASAN_OPTIONS", None)  # what unit tests have does not work behind the fence: common/sandbox.c knows better
    args = [os.path.join(d, "prog", "postamtd"), "-c", os.path.join(d, "postamt.conf"), "-L", os.path.join(d, "prog")]
    who, seconds = as_nobody(), START_SECONDS
    if env.get("POSTAMT_TRACE_CALLS"):  # tests/lint/calls.py wants to know what each role calls
        args, who = strace.traced(args, who, env["POSTAMT_TRACE_CALLS"])
        seconds *= 3
    with open(os.path.join(d, "stderr"), "ab") as err:
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd="/", env=env,
                             start_new_session=True, **who)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if p.poll() is not None:
            with open(os.path.join(d, "stderr")) as f:
                raise InstanceError(f"postamtd ended with {p.returncode}: {f.read()[-2000:]}{log_tail(d)}")
        r = cli(d, "status", "--json", check=False)
        if r.returncode == 0 and all(x["ready"] for x in json.loads(r.stdout)["roles"]):
            return p.pid
        time.sleep(0.05)
    p.kill()
    raise InstanceError(f"the roles were not ready after {START_SECONDS} s:\n{log_tail(d)}")


def end(pid):
    """SIGTERM, then SIGKILL; returns when nothing of it is left."""
    pids = descendants(pid)
    for sig, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            if not any(alive(x) for x in pids):
                return
            time.sleep(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def describe(d, ports, users, pid):
    return {
        "name": "postamt",
        "host": HOST,
        "domain": DOMAIN,
        "tls_name": TLS_NAME,
        "ports": ports,
        "users": {"template": "u%d@" + DOMAIN, "count": users, "password": PASSWORD},
        "maildir": f"{d}/mail/{DOMAIN}/u%d/Maildir",
        "ca_file": f"{d}/tls/self-signed.crt",
        "pids": descendants(pid),
        "pid": pid,
    }


def save(d, info):
    with open(os.path.join(d, "instance.json"), "w") as f:
        json.dump(info, f)


def start(d, users=1, hash_scheme="yescrypt", extra=""):
    d = os.path.abspath(d)
    if os.path.exists(os.path.join(d, "instance.json")) and alive(load(d)["pid"]):
        raise InstanceError(f"an instance runs in {d} already; end it with: ./bootstrap instance stop {d}")
    os.makedirs(d, exist_ok=True)
    copy_programs(d)
    if os.getuid() == 0:
        os.chown(d, NOBODY, NOBODY)
    for attempt in range(5):
        ports = dict(zip((x[0] for x in LISTENERS), free_ports(len(LISTENERS))))
        with open(os.path.join(d, "postamt.conf"), "w") as f:
            f.write(config_text(d, ports, hash_scheme, extra))
        try:
            pid = launch(d)
            break
        except InstanceError as e:  # somebody took a port in between
            if "another program has it" not in str(e) or attempt == 4:
                raise
    cli(d, "domain", "add", DOMAIN)
    for i in range(users):
        cli(d, "account", "add", f"u{i}@{DOMAIN}", stdin=PASSWORD + "\n")
    shutil.copy(os.path.join(d, "tls", "self-signed.crt"), os.path.join(d, "ca.crt"))
    info = describe(d, ports, users, pid)
    info["ca_file"] = os.path.join(d, "ca.crt")
    os.chmod(info["ca_file"], 0o644)
    save(d, info)
    return info


# What a sanitizer, an INVARIANT or the C library says before it ends a process.
REPORT = re.compile(r"ERROR: \w*Sanitizer|Sanitizer:|runtime error:|internal error:|stack smashing|malloc\(\)|free\(\)|corrupted")
# Roles and workers that ended by a signal that only their own error explains; tests kill them by others.
DIED = re.compile(r"role-died .*\b(signal|status)=(\d+)")
OWN_ERROR = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS}


def text_of(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def with_lines(report):
    """A fenced process reports addresses only; here they become functions and lines."""
    def line_of(m):
        r = subprocess.run(["addr2line", "-Cfpsi", "-e", m.group(1), m.group(2)], capture_output=True, text=True, timeout=60)
        return m.group() + " " + r.stdout.strip()
    return re.sub(r"\((/[^()]+/prog/\w+)\+(0x[0-9a-f]+)\)", line_of, report) if shutil.which("addr2line") else report


def complaints(d):
    """What went wrong inside the daemons since the folder was made: their reports, and who ended by his own error."""
    stderr = text_of(os.path.join(d, "stderr"))
    out = []
    found = REPORT.search(stderr)
    if found:
        start = stderr.rfind("\n", 0, found.start()) + 1
        report = stderr[start:start + 6000].partition("Shadow bytes around")[0]
        out.append(with_lines(report))
    for line in text_of(os.path.join(d, "log")).splitlines():
        m = DIED.search(line)
        if m and int(m.group(2)) & 0x7f in OWN_ERROR:
            out.append(line)
    return "\n".join(out)


def stop(d):
    """Ends it; an error of a daemon's own, found now, is an InstanceError."""
    d = os.path.abspath(d)
    end(load(d)["pid"])
    found = complaints(d)
    if found:
        raise InstanceError(f"a daemon failed:\n{found}")


def restart(d):
    d = os.path.abspath(d)
    info = load(d)
    end(info["pid"])
    copy_programs(d)
    pid = launch(d)
    info["pid"], info["pids"] = pid, descendants(pid)
    save(d, info)
    return info


def reload(d):
    cli(os.path.abspath(d), "config", "reload")


def main():
    p = argparse.ArgumentParser(prog="bootstrap instance", description=__doc__.split("\n")[0])
    p.add_argument("verb", choices=["start", "stop", "reload", "restart"])
    p.add_argument("dir")
    p.add_argument("--users", type=int, default=1)
    p.add_argument("--hash", default="yescrypt", choices=["yescrypt", "sha512crypt"])
    a = p.parse_args()
    try:
        if a.verb == "start":
            print(json.dumps(start(a.dir, a.users, a.hash)))
        elif a.verb == "restart":
            print(json.dumps(restart(a.dir)))
        elif a.verb == "reload":
            reload(a.dir)
        else:
            stop(a.dir)
    except InstanceError as e:
        print(f"bootstrap: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
