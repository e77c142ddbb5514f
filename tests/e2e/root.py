#!/usr/bin/env python3
"""postamt as an admin runs it: started by root, each role with a uid of its own.

Every role and worker must have its row's uid and gid, no other group, no capability, no_new_privs, seccomp, and must not
be dumpable; folders belong to whom they should; members of group postamt may use the command, others not; mail comes in
and is read. Skipped when not root or when the users postamt, postamt-auth, postamt-queue, postamt-net do not exist:

    for u in postamt postamt-auth postamt-queue postamt-net; do adduser --system --group --no-create-home $u; done
"""
import ctypes
import grp
import imaplib
import json
import os
import poplib
import pwd
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile

import instance
from demo import message

SKIPPED = 77
USER_OF = {"authd": "postamt-auth", "parent": "postamt", "deliver": "postamt", "spawner": "postamt", "worker": "postamt",
           "front": "postamt-net", "queued": "postamt-queue", "sender": "postamt-net", "resolverd": "postamt-net",
           "fetchd": "postamt-net"}
failures = []


def expect(what, got, wanted):
    if got != wanted:
        failures.append(what)
        print(f"FAILED {what}: got {got!r}, wanted {wanted!r}", flush=True)


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def check_process(name, pid):
    """What the kernel says of a role."""
    user = pwd.getpwnam(USER_OF[name.split(".")[1] if "." in name else name])
    s = status_of(pid)
    expect(f"{name}: Uid", s["Uid"].split(), [str(user.pw_uid)] * 4)
    expect(f"{name}: Gid", s["Gid"].split(), [str(user.pw_gid)] * 4)
    expect(f"{name}: Groups", set(s["Groups"].split()) - {str(user.pw_gid)}, set())
    for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        expect(f"{name}: {caps}", int(s[caps], 16), 0)
    expect(f"{name}: NoNewPrivs", s["NoNewPrivs"], "1")
    if not os.environ.get("POSTAMT_SANITIZED"):
        expect(f"{name}: Seccomp", s["Seccomp"], "2")
    with open(f"/proc/{pid}/limits") as f:
        core = next(line for line in f if line.startswith("Max core file size")).split()[4:6]
    expect(f"{name}: core files", core, ["0", "0"])
    # files in /proc of a process that is not dumpable belong to root
    st = os.stat(f"/proc/{pid}/environ")
    expect(f"{name}: dumpable (owner of /proc/pid/environ)", (st.st_uid, st.st_gid), (0, 0))


def check_folder(path, user, mode):
    st = os.stat(path)
    expect(f"{path}: owner", pwd.getpwuid(st.st_uid).pw_name, user)
    expect(f"{path}: mode", oct(st.st_mode & 0o7777), oct(mode))


def as_user(d, name, *args):
    """The exit status of the postamt command run by that user."""
    user = pwd.getpwnam(name)
    groups = [g.gr_gid for g in grp.getgrall() if name in g.gr_mem]
    return command(d, user.pw_uid, user.pw_gid, groups, *args)


def command(d, uid, gid, groups, *args):
    return subprocess.run([f"{d}/prog/postamt", *args, "--config", f"{d}/postamt.conf"], user=uid, group=gid,
                          extra_groups=groups, capture_output=True, text=True, timeout=60, cwd="/").returncode


def check_mail(info, d):
    user, password = info["users"]["template"] % 0, info["users"]["password"]
    tls = ssl.create_default_context(cafile=info["ca_file"])
    tls.check_hostname = False
    with smtplib.SMTP(info["host"], info["ports"]["submission"], timeout=20) as s:
        s.starttls(context=tls)
        s.login(user, password)
        s.send_message(message(user, user, "root one"))
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=20) as s:
        s.send_message(message("somebody@elsewhere.test", user, "root two"))
    with imaplib.IMAP4_SSL(info["host"], info["ports"]["imaps"], ssl_context=tls, timeout=20) as m:
        m.login(user, password)
        expect("messages by IMAP", m.select("INBOX")[1], [b"2"])
        expect("a folder made", m.create("Ablage")[0], "OK")
        expect("a message copied", m.copy("1", "Ablage")[0], "OK")
        expect("a flag set", m.store("1", "+FLAGS", "\\Seen")[0], "OK")
        expect("a message stored", m.append("Ablage", None, None, b"Subject: x\r\n\r\ny\r\n")[0], "OK")
        p = poplib.POP3_SSL(info["host"], info["ports"]["pop3s"], context=tls, timeout=20)
        p.user(user)
        p.pass_(password)
        expect("messages by POP3", p.stat()[0], 2)
        workers = check_workers(d)
        p.dele(1)
        p.quit()
        expect("workers", workers, {"imapd.worker", "pop3d.worker"})
        m.noop()
        expect("messages after POP3's DELE", m.select("INBOX")[1], [b"1"])
        expect("undelete by root", instance.cli(d, "mailbox", "undelete", user).returncode, 0)
        expect("undelete by a stranger is refused", as_user(d, "nobody", "mailbox", "undelete", user) != 0, True)
        m.noop()
        expect("messages after undelete", m.select("INBOX")[1], [b"2"])
    for folder, _, files in os.walk(f"{d}/var/lib/mail"):
        check_folder(folder, "postamt", 0o700)
        for name in files:
            st = os.stat(os.path.join(folder, name))
            expect(f"{name}: owner", pwd.getpwuid(st.st_uid).pw_name, "postamt")
            expect(f"{name}: open to others", st.st_mode & 0o077, 0)


def check_workers(d):
    """Workers are the children of spawners."""
    names = set()
    for role in roles(d):
        if role["role"].endswith(".spawner"):
            for pid in instance.descendants(role["pid"])[1:]:
                name = role["role"].replace("spawner", "worker")
                check_process(name, pid)
                names.add(name)
    return names


def roles(d):
    return json.loads(instance.cli(d, "status", "--json").stdout)["roles"]


def check(info, d):
    for role in roles(d):
        check_process(role["role"].rsplit(".", 1)[0] if role["role"][-1].isdigit() else role["role"], role["pid"])
    for name in ("", "/lib"):
        check_folder(f"{d}/var{name}", "root", 0o755)
    for name in ("mail", "state", "spool"):
        check_folder(f"{d}/var/lib/{name}", "postamt", 0o700)
    check_folder(f"{d}/var/lib/auth", "postamt-auth", 0o700)
    check_folder(f"{d}/var/lib/queue", "postamt-queue", 0o700)
    check_folder(f"{d}/var/run", "root", 0o755)
    for name in ("authd.sock", "postamtd.sock", "queued.sock"):
        st = os.stat(f"{d}/var/run/{name}")
        expect(f"{name}: mode", oct(st.st_mode & 0o777), oct(0o660))
        expect(f"{name}: group", grp.getgrgid(st.st_gid).gr_name, "postamt")
    check_mail(info, d)
    admins = grp.getgrnam("postamt").gr_gid
    nobody = pwd.getpwnam("nobody")
    for args in (("status",), ("account", "list"), ("queue", "list")):
        expect(f"{args} by a member of group postamt", command(d, nobody.pw_uid, nobody.pw_gid, [admins], *args), 0)
        expect(f"{args} by a stranger is refused", command(d, nobody.pw_uid, nobody.pw_gid, [], *args) != 0, True)
        expect(f"{args} by a front's uid is refused", as_user(d, "postamt-net", *args) != 0, True)


def nested(config_text):
    """Folders below some that postamtd has to make: others must get through them."""
    def text(d, *rest):
        out = config_text(d, *rest)
        for name, to in (("mail", "lib/mail"), ("state", "lib/state"), ("spool", "lib/spool"), ("auth", "lib/auth"), ("queue", "lib/queue"),
                         ("run", "run")):
            out = out.replace(f'"{d}/{name}"', f'"{d}/var/{to}"')
        return out
    return text


def unit_capabilities():
    """What etc/postamt.service leaves to root."""
    with open(os.path.join(instance.TOP, "etc", "postamt.service.in")) as f:
        line = next(x for x in f if x.startswith("CapabilityBoundingSet="))
    return line.split("=", 1)[1].split()


CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6,
                "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10}


def as_unit():
    """For Popen: root as the service has it."""
    kept = {CAPABILITIES[x] for x in unit_capabilities()}
    libc = ctypes.CDLL(None, use_errno=True)

    def drop():
        for n in range(64):
            if n not in kept:
                libc.prctl(24, n, 0, 0, 0)  # PR_CAPBSET_DROP; numbers the kernel does not know are refused
        os.umask(0o077)
    return {"preexec_fn": drop}


def main():
    try:
        for name in set(USER_OF.values()):
            pwd.getpwnam(name)
    except KeyError:
        print("skipped: the users are missing; make them as the head of this file says")
        return SKIPPED
    if os.geteuid() != 0:
        print("skipped: only root can give roles their uids")
        return SKIPPED
    instance.as_nobody = as_unit
    instance.NOBODY = 0  # whose the folder is
    instance.config_text = nested(instance.config_text)
    d = tempfile.mkdtemp(prefix="postamt-root-")
    os.chmod(d, 0o755)
    try:
        info = instance.start(d, users=1)
        check(info, d)
        instance.restart(d)
        expect("accounts after a restart", instance.cli(d, "account", "list").returncode, 0)
        instance.stop(d)
        # the mail and the directory while everything is down: they must stay their owners'
        instance.cli(d, "mailbox", "purge", "--all")
        instance.cli(d, "account", "add", "late@" + instance.DOMAIN, stdin=instance.PASSWORD + "\n")
        for name in os.listdir(f"{d}/var/lib/auth"):
            owner = os.stat(f"{d}/var/lib/auth/{name}").st_uid
            expect(f"auth/{name}: owner", pwd.getpwuid(owner).pw_name, "postamt-auth")
    finally:
        try:
            instance.stop(d)
        except instance.InstanceError:
            pass
        if failures:
            print(instance.log_tail(d, 60))
        shutil.rmtree(d, ignore_errors=True)
    print(f"{len(failures)} failed" if failures else "fine")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
