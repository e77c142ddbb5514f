#!/usr/bin/env python3
"""fetchmail takes mail away by IMAP and POP3 over TLS: each message once, whole; POP3 deletes at QUIT only."""
import os
import subprocess
import sys

import office

COUNT = 20


def fetchmail(o, protocol, n, *more, ok=(0,)):
    """Runs fetchmail once; messages go to fetched/ one file each by its --mda. Returns what it said."""
    rc = os.path.join(o.home, "fetchmailrc")
    service = {"imap": "imaps", "pop3": "pop3s"}[protocol]
    with open(rc, "w") as f:
        f.write(f'''poll localhost protocol {protocol} service {o.port(service)} auth password
 user "{o.user(n)}" password "{o.password}" ssl sslcertck sslcertfile "{o.info['ca_file']}" {' '.join(more)}
''')
    os.chmod(rc, 0o600)
    os.makedirs(os.path.join(o.home, "fetched"), exist_ok=True)
    r = o.tool("fetchmail", "-f", rc, "--nosyslog", "--pidfile", os.path.join(o.home, "pid"), "-i", os.path.join(o.home, f"ids{n}"),
               "--mda", f"sh -c 'cat >$(mktemp {o.home}/fetched/XXXXXXXX)'", ok=ok, timeout=60)
    return (r.stdout + r.stderr).decode()


def fetched(o):
    """Takes what the last runs fetched: subjects and bodies."""
    out = []
    folder = os.path.join(o.home, "fetched")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            head, body = f.read().replace(b"\r\n", b"\n").split(b"\n\n", 1)
        out.append(([x for x in head.split(b"\n") if x.startswith(b"Subject: ")][0].decode()[9:], body))
        os.unlink(os.path.join(folder, name))
    return sorted(out)


def sent(o, n):
    texts = [(f"mail {i:02}", f"text {i}\r\n.\r\n..\r\nGrüße\r\n" * (i + 1)) for i in range(COUNT)]
    o.deliver([office.message(s, b, to=o.user(n)) for s, b in texts], n)
    return [(s, b.encode().replace(b"\r\n", b"\n")) for s, b in texts]


def once_and_gone(o, protocol, n):
    want = sent(o, n)
    said = fetchmail(o, protocol, n, "keep")
    got = fetched(o)
    assert got == want, (said, [x[0] for x in got])
    assert len(o.files(n)) == COUNT
    fetchmail(o, protocol, n, "keep", ok=(1,))  # 1: no new mail
    assert fetched(o) == []
    o.deliver(office.message("one more", "text\r\n"), n)
    fetchmail(o, protocol, n, "keep")
    assert fetched(o) == [("one more", b"text\n")]
    fetchmail(o, protocol, n, "fetchall", "nokeep")
    assert [x[0] for x in fetched(o)] == [x[0] for x in want] + ["one more"]
    assert o.files(n) == [], o.files(n)
    fetchmail(o, protocol, n, ok=(1,))
    assert fetched(o) == []


def by_imap(o):
    once_and_gone(o, "imap", 0)


def by_pop3(o):
    once_and_gone(o, "pop3", 1)


def killed_before_quit(o):
    """A fetchmail that dies in the middle has deleted nothing: all is there the next time (RFC 1939 6)."""
    want = sent(o, 2)
    count = os.path.join(o.home, "count")
    rc = os.path.join(o.home, "rc2")
    with open(rc, "w") as f:
        f.write(f'''poll localhost protocol pop3 service {o.port('pop3s')} auth password
 user "{o.user(2)}" password "{o.password}" ssl sslcertck sslcertfile "{o.info['ca_file']}" fetchall nokeep
''')
    os.chmod(rc, 0o600)
    # the tenth message's delivery kills its fetchmail: nine DELE were sent, no QUIT
    script = os.path.join(o.home, "mda")
    with open(script, "w") as f:
        f.write(f'#!/bin/sh\ncat >/dev/null\necho x >>{count}\n[ $(wc -l <{count}) -lt 10 ] || kill -9 $(cat {o.home}/pid2 | head -n 1)\n')
    os.chmod(script, 0o755)
    r = subprocess.run(["sh", "-c", f'echo $$ >{o.home}/pid2; exec fetchmail -f {rc} --nosyslog --pidfile {o.home}/pid3 -i {o.home}/ids3 --mda {script}'],
                       capture_output=True, timeout=60, env=dict(os.environ, HOME=o.home, LC_ALL="C.UTF-8"), cwd=o.home)
    assert r.returncode == -9, r
    with open(count) as f:
        assert len(f.readlines()) == 10
    assert len(o.files(2)) == COUNT, f"{COUNT - len(o.files(2))} messages were deleted without a QUIT"
    fetchmail(o, "pop3", 2, "fetchall", "nokeep")
    assert fetched(o) == want
    assert o.files(2) == []


if __name__ == "__main__":
    office.needs("fetchmail")
    sys.exit(office.main([by_imap, by_pop3, killed_before_quit], users=3))
