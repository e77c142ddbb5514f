#!/usr/bin/env python3
"""Start, reload, restart, lost state, and kill -9 of each role: what goes on, what comes back, what must be gone."""
import contextlib
import glob
import hashlib
import imaplib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import instance
import office

KEYS = {"name", "host", "domain", "ports", "users", "maildir", "ca_file", "pids", "tls_name"}


def flags(m):
    """(UIDVALIDITY, {UID: flags}) of the open folder."""
    typ, data = m.uid("FETCH", "1:*", "(FLAGS)")
    assert typ == "OK", data
    m_flags = {int(re.search(rb"UID (\d+)", x)[1]): frozenset(imaplib.ParseFlags(x)) - {rb"\Recent"} for x in data if x}
    return m.untagged_responses["UIDVALIDITY"][-1], m_flags


def look(o, folder="INBOX"):
    m = o.imap()
    assert m.select(folder)[0] == "OK"
    got = flags(m)
    m.logout()
    return got


def fingerprint(o, service="imaps"):
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((o.info["host"], o.port(service)), 10) as s, ctx.wrap_socket(s) as t:
        return hashlib.sha256(t.getpeercert(True)).hexdigest()


def config(o, change=None):
    """Reads the configuration; change(text) gives the new one."""
    name = os.path.join(o.office, "postamt.conf")
    with open(name) as f:
        text = f.read()
    if change:
        with open(name, "w") as f:
            f.write(change(text))
    return text


def served(o):
    """One message in by SMTP, IMAP and POP3 logins; whatever goes wrong is an OSError or a protocol's."""
    with o.smtp() as s:
        s.sendmail("sender@elsewhere.test", [o.user(1)], office.message("served"))
    m = o.imap(1)
    assert m.select("INBOX")[0] == "OK"
    m.logout()
    p = o.pop3(1)
    p.stat()
    p.quit()


def bootstrap_instance(o):
    """./bootstrap instance: the JSON of start, what it names exists; restart, reload and stop; a second start is refused."""
    d = os.path.join(o.dir, "second")

    def run(*args, ok=0):
        r = subprocess.run([sys.executable, instance.__file__, *args], stdout=open(os.path.join(o.dir, "out"), "w+"),
                           stderr=open(os.path.join(o.dir, "err"), "w+"), timeout=60)
        with open(os.path.join(o.dir, "out")) as out, open(os.path.join(o.dir, "err")) as err:
            said = out.read(), err.read()
        assert r.returncode == ok, said
        return said
    try:
        info = json.loads(run("start", d, "--users", "3", "--hash", "sha512crypt")[0])
        assert KEYS <= set(info), KEYS - set(info)
        assert info["users"]["count"] == 3 and info["users"]["template"] % 2 == "u2@" + info["domain"]
        assert {"smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"} <= set(info["ports"])
        assert all(instance.alive(p) for p in info["pids"]) and len(info["pids"]) > 5
        second = office.Office()
        second.info, second.dir = info, o.dir
        m = second.imap(2)
        m.select("INBOX")
        m.logout()
        assert os.path.isdir(info["maildir"] % 2), info["maildir"]
        assert "is running" in run("start", d, ok=1)[1] or "runs in" in run("start", d, ok=1)[1]
        run("reload", d)
        again = json.loads(run("restart", d)[0])
        assert again["ports"] == info["ports"] and not set(again["pids"]) & set(info["pids"])
        second.imap(2).logout()
        pids = instance.descendants(again["pid"])
    finally:
        run("stop", d)
    assert not [p for p in pids + info["pids"] if instance.alive(p)]
    assert "holds no instance" in run("stop", o.dir, ok=1)[1]


def new_certificate(o):
    """SIGHUP with another certificate: an open session goes on, a new one gets the new certificate; then with a wrong file."""
    before = {s: fingerprint(o, s) for s in ("imaps", "pop3s", "submissions")}
    m = o.imap(1)
    m.select("INBOX")
    idle = o.imap(1)
    idle.select("INBOX")
    chain, key = os.path.join(o.dir, "new.pem"), os.path.join(o.dir, "new.key")
    o.tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
           "-subj", "/CN=mail.example.test", "-addext", "subjectAltName=DNS:mail.example.test,DNS:localhost",
           "-keyout", key, "-out", chain)
    if os.getuid() == 0:
        os.chown(key, instance.NOBODY, instance.NOBODY)
    old = config(o, lambda t: re.sub(r"(tls = \{ dir = \"[^\"]*\";)", rf'\1 certificates = ( {{ chain = "{chain}"; key = "{key}"; }} );', t))
    os.kill(o.info["pid"], signal.SIGHUP)
    changed = office.wait_for(lambda: all(fingerprint(o, s) != before[s] for s in before), 5)
    assert changed, "new sessions still get the old certificate"
    assert m.noop()[0] == "OK" and idle.noop()[0] == "OK", "an open session was dropped"
    trusted = ssl.create_default_context(cafile=chain)
    trusted.check_hostname = False
    s = o.imap(1, "imap", login=False)
    s.starttls(trusted)
    s.logout()
    now = fingerprint(o)
    # wrong: refused and explained, nothing dropped, nothing changed
    right = config(o, lambda t: t.replace("hostname = ", "hostnme = "))
    r = o.cli("config", "reload", check=False)
    assert r.returncode != 0 and "hostnme" in r.stderr and "hostname" in r.stderr, r
    o.expect_log("hostnme")
    os.kill(o.info["pid"], signal.SIGHUP)
    assert office.wait_for(lambda: len(re.findall("hostnme", o.log())) > 0, 5), "the log does not explain"
    config(o, lambda t: right.replace(chain, chain + ".missing"))
    r = o.cli("config", "reload", check=False)
    assert r.returncode != 0 and "new.pem.missing" in r.stderr, r
    o.expect_log("new.pem.missing")
    assert fingerprint(o) == now and m.noop()[0] == "OK" and idle.noop()[0] == "OK"
    config(o, lambda t: old)
    instance.reload(o.office)
    assert office.wait_for(lambda: fingerprint(o) == before["imaps"])
    served(o)
    assert m.noop()[0] == "OK"
    m.logout()
    idle.logout()


def fill(o):
    o.deliver([office.message(f"life {i}") for i in range(8)])
    m = o.imap()
    m.select("INBOX")
    m.store("2", "+FLAGS", r"(\Seen \Flagged)")
    m.store("3:4", "+FLAGS", r"(Wichtig $Label1)")
    m.store("5", "+FLAGS", r"(\Answered $Forwarded)")
    m.store("1,6", "+FLAGS", r"(\Deleted)")
    m.expunge()
    m.create("Ablage")
    m.copy("1:2", "Ablage")
    m.subscribe("Ablage")
    m.logout()


def restart_keeps(o):
    fill(o)
    before = look(o), look(o, "Ablage")
    assert len(before[0][1]) == 6 and frozenset({b"Wichtig", b"$Label1"}) in before[0][1].values(), before
    o.restart()
    assert (look(o), look(o, "Ablage")) == before
    o.deliver(office.message("next"))
    uids = set(look(o)[1])
    assert uids == set(before[0][1]) | {9}, uids


def state_removed(o):
    """rm -r state/ while it is down loses nothing: UIDVALIDITY, UIDs, flags, keywords; numbers of expunged ones are not given again."""
    m = o.imap()
    m.select("INBOX")
    m.store("6", "+FLAGS", r"(\Deleted)")  # the highest but one ..
    m.store("7", "+FLAGS", r"(\Deleted)")  # .. and the highest UID
    m.expunge()
    m.logout()
    before = look(o), look(o, "Ablage")
    o.stop()
    for x in glob.glob(os.path.join(o.office, "state", "*")):
        shutil.rmtree(x)
    o.restart()
    assert (look(o), look(o, "Ablage")) == before
    o.deliver(office.message("after"))
    new = set(look(o)[1]) - set(before[0][1])
    assert len(new) == 1 and min(new) > 9, f"a UID of an expunged message was given again: {new}"
    m = o.imap()
    assert any(b"Ablage" in x for x in m.lsub()[1])
    m.logout()


def unclean_stop(o):
    """kill -9 of all at once: what was acknowledged is there, the numbers hold."""
    o.deliver([office.message(f"before the kill {i}") for i in range(5)])
    m = o.imap()
    m.select("INBOX")
    assert m.store("1", "+FLAGS", r"(\Draft)")[0] == "OK"
    before = flags(m)
    gone(o)
    o.restart()
    assert look(o) == before, (look(o), before)


def kill_each(o):
    """Each role in turn: service is back within 2 s; sessions that do not pass through it live on."""
    o.expect_log(r"role-died .*(signal=9|status=9|role=worker user=)")
    survivors = {"authd": "both", "smtpd": "both", "imapd.parent": "pop3", "imapd.spawner": "pop3", "imapd.front": "plain", "pop3d": "imap",
                 "queued": "both", "sender": "both", "resolverd": "both", "fetchd": "both"}
    took = {}
    for role in sorted(o.roles()):
        imap = [o.imap(service="imap_plain"), o.imap()]
        for x in imap:
            x.select("INBOX")
        pop3 = o.pop3(1, "pop3_plain")
        pid = o.roles()[role]["pid"]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)

        def back():
            try:
                row = o.roles().get(role)
                assert row and row["ready"] and row["pid"] != pid
                served(o)
                return True
            except (OSError, AssertionError, imaplib.IMAP4.error, office.poplib.error_proto, office.smtplib.SMTPException):
                return False
        assert office.wait_for(back, 10), f"{role} was killed; the service did not come back in 10 s"
        took[role] = time.monotonic() - began
        which = next(v for k, v in survivors.items() if role.startswith(k))
        try:
            if which in ("both", "pop3"):
                assert pop3.noop().startswith(b"+OK"), role
            if which in ("both", "imap"):
                assert all(x.noop()[0] == "OK" for x in imap), role
            if which == "plain":  # its socket went to the worker: no front has it
                assert imap[0].noop()[0] == "OK", role
        except (OSError, imaplib.IMAP4.error, office.poplib.error_proto) as e:
            raise AssertionError(f"{role} was killed, and a session that it had no part in ended: {e!r}")
        for x in imap:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                x.shutdown()
        with contextlib.suppress(OSError):
            pop3.close()
    slowest = max(took, key=took.get)
    print(f"     slowest to come back: {slowest}, {took[slowest]:.2f} s")
    late = {k: round(v, 2) for k, v in took.items() if v > 2}
    assert not late, f"back later than 2 s: {late}"


def kill_a_worker(o):
    """One user's worker dies: his sessions end, another's go on, he can log in again at once."""
    m = o.imap(0)
    m.select("INBOX")
    other = o.imap(1)
    other.select("INBOX")
    spawner = o.roles()["imapd.spawner"]["pid"]
    workers = set(instance.descendants(spawner)) - {spawner}
    assert len(workers) >= 2, workers
    # the newest are ours; which of them is u0's the log says by its first line
    mine = [p for p in workers if any(f"[{p}]" in x and "u0@" in x for x in o.log().splitlines())]
    victims = mine or sorted(workers)[:1]
    os.kill(victims[0], signal.SIGKILL)
    alive = []
    for x in (m, other):
        try:
            alive.append(x.noop()[0] == "OK")
        except (OSError, imaplib.IMAP4.abort):
            alive.append(False)
    assert sorted(alive) == [False, True], alive
    began = time.monotonic()
    for n in (0, 1):
        x = o.imap(n)
        assert x.select("INBOX")[0] == "OK"
        x.logout()
    assert time.monotonic() - began < 2


def gone(o):
    """kill -9 of postamtd: within a second no role is left and the ports are free."""
    pids = instance.descendants(o.info["pid"])
    assert len(pids) > 10
    os.kill(o.info["pid"], signal.SIGKILL)
    began = time.monotonic()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(o.info["pid"], 0)
    left = office.wait_for(lambda: not [p for p in pids if instance.alive(p)], 3)
    took = time.monotonic() - began
    assert left, f"still there: {[open(f'/proc/{p}/cmdline').read() for p in pids if instance.alive(p)]}"
    assert took < 1, f"the roles lived on for {took:.2f} s"
    for name, port in o.info["ports"].items():
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # sessions of before may wait in TIME_WAIT
            s.bind((o.info["host"], port))
            s.listen()


def postamtd_killed(o):
    m = o.imap()
    m.select("INBOX")
    gone(o)
    try:
        m.noop()
        raise AssertionError("a session outlived the server")
    except (OSError, imaplib.IMAP4.abort):
        pass
    o.restart()
    served(o)


def stopped(o):
    """A stop with open sessions leaves no process and says BYE."""
    m = o.imap()
    m.select("INBOX")
    pids = instance.descendants(o.info["pid"])
    began = time.monotonic()
    o.stop()
    assert time.monotonic() - began < 5, "the stop took long"
    assert not [p for p in pids if instance.alive(p)]
    assert not glob.glob(os.path.join(o.office, "spool", "*"))
    with contextlib.suppress(OSError):
        said = m.readline()
        assert said == b"" or said.startswith(b"* BYE"), said
    o.restart()


if __name__ == "__main__":
    office.needs("openssl")
    sys.exit(office.main([bootstrap_instance, new_certificate, restart_keeps, state_removed, unclean_stop, kill_each,
                          kill_a_worker, postamtd_killed, stopped], users=2))
