#!/usr/bin/env python3
"""What `make install` brings: files in their places, a unit that fits the roles, a fail2ban filter that finds real lines."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ["POSTAMT_BUILD"]
EXPOSURE_MAX = 2.5
failures = []


def expect(what, ok, detail=""):
    if not ok:
        failures.append(what)
        print(f"FAILED {what} {detail}", flush=True)


def installed(dest):
    """Every file below dest, with its mode, by its path as it will be."""
    out = {}
    for folder, _, files in os.walk(dest):
        for name in files:
            path = os.path.join(folder, name)
            out[path[len(dest):]] = stat.S_IMODE(os.stat(path).st_mode)
    return out


def variable(name):
    with open(os.path.join(BUILD, "Makefile")) as f:
        values = dict(re.findall(r"^(\w+) = (.*)$", f.read(), re.M))
    value = values[name]
    while "${" in value or "$(" in value:
        value = re.sub(r"\$[{(](\w+)[)}]", lambda m: values[m.group(1)], value)
    return value


def check_files(dest):
    files = installed(dest)
    prefix, conf = variable("prefix"), variable("sysconfdir")
    programs = [f"{variable('bindir')}/postamt", f"{variable('sbindir')}/postamtd"]
    programs += [f"{variable('libexecdir')}/postamt/{x}" for x in ("authd", "smtpd", "imapd", "pop3d", "queued", "sender", "resolverd", "fetchd")]
    data = [f"{conf}/postamt/postamt.conf.example", f"{conf}/fail2ban/filter.d/postamt.conf",
            f"{prefix}/lib/systemd/system/postamt.service", f"{prefix}/lib/sysusers.d/postamt.conf",
            f"{prefix}/lib/tmpfiles.d/postamt.conf"]
    data += [f"{variable('mandir')}/man{name[-1]}/{name}" for name in os.listdir(os.path.join(TOP, "man")) if name[-1].isdigit()]
    for path in programs:
        expect(f"{path} is there for all to run", files.get(path) == 0o755, oct(files.get(path, 0)))
    for path in data:
        expect(f"{path} is there for all to read", files.get(path) == 0o644, oct(files.get(path, 0)))
    expect("nothing else is installed", set(files) == set(programs) | set(data), set(files) ^ (set(programs) | set(data)))
    with open(dest + f"{prefix}/lib/systemd/system/postamt.service") as f:
        unit = f.read()
    for path in programs[:2]:
        expect(f"the unit names {path}", path in unit)
    expect("the unit has no @..@ left", not re.search(r"@\w+dir@", unit))
    return dest + f"{prefix}/lib/systemd/system/postamt.service"


def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout


def calls_of(group):
    """A group of systemd's, its groups resolved."""
    out = set()
    for line in output("systemd-analyze", "syscall-filter", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            out |= calls_of(word)
        elif word and not word.startswith("#"):
            out.add(word)
    return out


def check_unit(unit):
    m = re.search(r"exposure level for \S+: ([0-9.]+)", output("systemd-analyze", "security", "--offline=true", unit))
    expect(f"exposure of the unit <= {EXPOSURE_MAX}", m and float(m.group(1)) <= EXPOSURE_MAX, m and m.group(1))
    allowed = set()
    with open(unit) as f:
        for line in re.findall(r"^SystemCallFilter=(.*)$", f.read(), re.M):
            calls = set()
            for word in line.lstrip("~").split():
                calls |= calls_of(word) if word.startswith("@") else {word}
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    with open(os.path.join(TOP, "common", "sandbox_calls.c")) as f:
        wanted = set(re.findall(r"(?:SCMP_SYS\(|ALLOW\(ctx, )([a-z][a-z0-9_]+)", f.read())) - {"call"}
    # what starting takes before the filters of the roles
    wanted |= {"execve", "clone", "vfork", "setresuid", "setresgid", "setgroups", "fchownat", "chmod", "bind", "listen", "socket"}
    expect("the unit allows what roles may call", len(wanted) > 80 and wanted <= allowed, sorted(wanted - allowed))


HOST = r"(?P<host>[0-9a-fA-F:.]+)"
LINES = [  # user as the log has it, rest of the line, address it must find
    ("u0@example.test", 'ip=192.0.2.7 service=imap code=AUTH_FAILED why="wrong password"', "192.0.2.7"),
    ('"a b"', "ip=192.0.2.8 service=smtp code=AUTH_SLOW_DOWN why=x", "192.0.2.8"),
    ('""', 'ip=2001:db8::1 service=pop3 code=AUTH_FAILED why=""', "2001:db8::1"),
    (r'"x\" ip=203.0.113.9 service=imap code=AUTH_FAILED"', "ip=192.0.2.9 service=imap code=AUTH_FAILED why=x", "192.0.2.9"),
    (r'"x\\"', "ip=192.0.2.10 service=imap code=AUTH_FAILED why=x", "192.0.2.10"),
    ("u", "ip=192.0.2.11 service=imap code=AUTH_BUSY why=x", None),
    ("u", "ip=192.0.2.11 service=imap code=AUTH_CANCELLED why=x", None),
    ('"u ip=203.0.113.9 service=imap code=AUTH_FAILED"', "ip=192.0.2.12 service=imap code=AUTH_BUSY why=x", None),
]


def check_filter():
    with open(os.path.join(TOP, "etc", "fail2ban", "postamt.conf")) as f:
        regex = re.compile(re.search(r"^failregex = (.*)$", f.read(), re.M).group(1).replace("<HOST>", HOST))
    for user, rest, host in LINES:
        for head in ("", " ", "mail postamtd[812]: "):  # fail2ban has cut the date out; the journal adds who wrote it
            m = regex.search(f"{head}authd[99] info login-failed id=d21bz247d7cdb user={user} {rest}")
            expect(f"the filter finds {host} in {user} {rest}", (m.group("host") if m else None) == host, m)
    with open(os.path.join(TOP, "auth", "authd_login.c")) as f:
        keys = re.search(r"LOG\(LOGIN_FAILED, l->sid,(.*?)\);", f.read(), re.S).group(1)
    expect("authd writes the line the filter knows", re.findall(r'F_\w+\("(\w+)"', keys) == ["user", "ip", "service", "code", "why"], keys)


def main():
    dest = tempfile.mkdtemp(prefix="postamt-install-")
    try:
        r = subprocess.run(["make", "-s", "-C", BUILD, "install", f"DESTDIR={dest}"], capture_output=True, text=True, timeout=300,
                           env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DESTDIR")})
        expect("make install", r.returncode == 0, r.stderr)
        if r.returncode == 0:
            unit = check_files(dest)
            if shutil.which("systemd-analyze"):
                check_unit(unit)
            else:
                print("systemd-analyze is not here: the unit was not judged")
        check_filter()
    finally:
        shutil.rmtree(dest, ignore_errors=True)
    print(f"{len(failures)} failed" if failures else "fine")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
