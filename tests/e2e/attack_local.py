#!/usr/bin/env python3
"""P01, F01, F02: sessions that hold on to a mailbox, what does not belong into a Maildir, garbage on the sockets of local users."""
import array
import os
import random
import re
import socket
import stat
import struct
import sys
import time

import instance
import office
import raw

IPC_VERSION, IPC_MAX = 1, 65536


# --- P01 ---

def pop3_lines(c, command):
    c.say(command)
    first = c.line()
    if not first.startswith("+OK"):
        return first, []
    out = []
    while (line := c.line()) != ".":
        out.append(line)
    return first, out


def held_mailbox(o):
    """A POP3 session that never ends keeps nobody out: not POP3, not delivery, not IMAP's expunge; what it saw stays as it was."""
    o.deliver([office.message(f"held {i}") for i in range(1, 6)], 0)
    held = raw.Raw(o, "pop3_plain")
    held.until(r"\+OK.*")
    held.ask(f"USER {o.user(0)}", r"\+OK.*")
    held.ask(f"PASS {o.password}", r"\+OK 5 messages.*")
    uids = pop3_lines(held, "UIDL")[1]
    held.ask("DELE 2", r"\+OK.*")

    began = time.monotonic()
    o.deliver(office.message("while it is held"), 0)
    second = o.pop3(0, "pop3_plain")
    assert second.stat()[0] == 6
    m = o.imap(0, "imap_plain")
    assert m.select("INBOX")[1] == [b"6"]
    m.store("1,2", "+FLAGS.SILENT", r"(\Deleted)")
    assert m.expunge()[0] == "OK" and len(o.files(0)) == 4
    second.dele(6)
    second.quit()
    assert len(o.files(0)) == 3
    print(f"     a second client, a delivery, an expunge and a QUIT took {(time.monotonic() - began) * 1000:.0f} ms")
    assert time.monotonic() - began < 2

    # the snapshot: same numbers, same UIDs, nothing new; what is gone is said to be gone
    assert re.match(r"\+OK 4 ", held.ask("STAT", r"\+OK.*"))
    assert pop3_lines(held, "UIDL")[1] == [uids[0]] + uids[2:]
    assert pop3_lines(held, "RETR 1")[0].startswith("-ERR [SYS/TEMP]")
    assert "Subject: held 3" in pop3_lines(held, "RETR 3")[1]
    held.ask("DELE 1", r"\+OK.*")  # one that is gone already
    held.ask("DELE 3", r"\+OK.*")
    answer = held.ask("QUIT", r"[-+].*")
    assert answer.startswith("+OK"), answer
    assert held.line() is None
    left = sorted(re.search(rb"Subject: (.*)\r\n", t)[1] for t in o.texts(0))
    assert left == [b"held 4", b"held 5"], left
    m.noop()
    assert m.search(None, "ALL")[1] == [b"1 2"]
    m.logout()


def many_held(o):
    """Fifty of them, all with marks: none is a lock, and none that ends without QUIT deletes."""
    before = o.texts(0)
    conns = []
    for _ in range(50):
        p = o.pop3(0, "pop3_plain")
        p.dele(1)
        conns.append(p)
    began = time.monotonic()
    o.deliver(office.message("beside fifty"), 0)
    p = o.pop3(0, "pop3_plain")
    assert p.stat()[0] == len(before) + 1
    p.quit()
    assert time.monotonic() - began < 1
    for p in conns:
        p.close()
    time.sleep(0.2)
    assert len(o.texts(0)) == len(before) + 1


# --- F01 ---

def counts(o, n):
    m = o.imap(n, "imap_plain")
    count = int(m.select("INBOX")[1][0])
    texts = [m.fetch(str(i), "(BODY.PEEK[])") for i in range(1, count + 1)]
    m.logout()
    p = o.pop3(n, "pop3_plain")
    assert p.stat()[0] == count
    p.quit()
    return count, texts


def owned(path):
    if os.getuid() == 0:
        os.chown(path, instance.NOBODY, instance.NOBODY, follow_symlinks=False)


def what_is_no_message(o):
    """FIFO, socket, folder, symbolic link, device: ignored, logged, never opened so that anybody waits."""
    box = o.maildir(1)
    o.deliver(office.message("the one"), 1)
    for where, end in (("new", ""), ("cur", ":2,S")):
        at = f"{box}/{where}"
        os.mkfifo(f"{at}/1.fifo{end}")
        os.mkfifo(f"{at}/2.fifo,S=100,U=70{end}")
        os.mkdir(f"{at}/3.folder,S=10{end}")
        os.symlink("/etc/passwd", f"{at}/4.link,S=10{end}")
        os.symlink("/dev/zero", f"{at}/5.zero{end}")
        s = socket.socket(socket.AF_UNIX)
        s.bind(f"/tmp/x{os.getpid()}{where}")
        os.rename(f"/tmp/x{os.getpid()}{where}", f"{at}/6.socket{end}")
        if os.getuid() == 0:
            os.mknod(f"{at}/7.zero{end}", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            os.mknod(f"{at}/8.null,S=5,U=71{end}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        else:
            print("     no devices are tried: only root may make them")
        for name in os.listdir(at):
            owned(f"{at}/{name}")
    began = time.monotonic()
    assert counts(o, 1)[0] == 1
    o.deliver(office.message("the second"), 1)
    assert counts(o, 1)[0] == 2
    assert time.monotonic() - began < 3, "something was opened that makes one wait"
    odd = [x for x in o.log().splitlines() if " store-odd " in x]
    kinds = {k for k in ("fifo", "folder", "link", "zero", "socket") for x in odd if f".{k}" in x}
    assert kinds == {"fifo", "folder", "link", "zero", "socket"}, (kinds, odd[-3:])
    assert os.path.exists(f"{box}/new/1.fifo") and os.path.islink(f"{box}/new/4.link,S=10"), "they stay where they are"
    o.expect_log(r" store-odd .*(fifo|folder|link|zero|null|socket)")


def fifo_instead_of_files(o):
    """Our own small files and indexes replaced by FIFOs, by links: no login waits for them or writes through them."""
    n = 2
    o.deliver(office.message("behind FIFOs"), n)
    assert counts(o, n)[0] == 1
    time.sleep(0.1)
    victim = os.path.join(o.dir, "victim")
    o.put(victim, b"not yours\n")
    pids = raw.pids_of(o, "imapd.worker")
    for pid in pids:  # the next login reads it all anew
        os.kill(pid, 9)
    for folder in (o.maildir(n), o.statedir(n)):
        for top, _, names in os.walk(folder):
            if os.path.basename(top) in ("new", "cur", "tmp"):
                continue
            for i, name in enumerate(sorted(names)):
                path = os.path.join(top, name)
                os.unlink(path)
                os.mkfifo(path) if i % 2 else os.symlink(victim, path)
                owned(path)
    began = time.monotonic()
    m = o.imap(n, "imap_plain", login=False)
    try:
        m.login(o.user(n), o.password)
        typ = m.select("INBOX")[0]
        print(f"     with FIFOs and links for all small files SELECT says {typ}")
    except m.error as e:
        print(f"     with FIFOs and links for all small files the login says {e}")
    assert time.monotonic() - began < 3
    with open(victim, "rb") as f:
        assert f.read() == b"not yours\n"
    assert counts(o, 1)[0] == 2, "another user is not touched by it"
    o.expect_log(r" (store-odd|store-error|role-died|mailbox) ")


def hard_links(o):
    """A link to a colleague's mail: what one does with it never changes the colleague's. A file only root may read is not read."""
    o.deliver(office.message("a colleague's", "secret\r\n"), 3)
    theirs = o.files(3)[0]
    with open(theirs, "rb") as f:
        text = f.read()
    os.link(theirs, f"{o.maildir(1)}/cur/1795000000.link:2,")
    before = os.stat(theirs)
    m = o.imap(1, "imap_plain")
    m.select("INBOX")
    hit = m.search(None, "SUBJECT", '"a colleague"')[1][0].split()[0].decode()
    m.store(hit, "+FLAGS", r"(\Flagged \Deleted Keyword)")
    m.copy(hit, "Archive")
    m.expunge()
    m.logout()
    after = os.stat(theirs)
    with open(theirs, "rb") as f:
        assert f.read() == text
    assert (before.st_mode, before.st_uid, before.st_mtime_ns, before.st_size) == (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_size)
    if os.getuid() != 0:
        print("     a file of root's is not tried: only root can make it")
        return
    shadow = os.path.join(o.dir, "shadow")
    with open(shadow, "w") as f:
        f.write("root:$6$secret\n")
    os.chmod(shadow, 0o600)
    for where, name in (("new", "1795000001.root"), ("cur", "1795000002.root,S=15:2,S")):
        os.link(shadow, f"{o.maildir(1)}/{where}/{name}")
    count, texts = counts(o, 1)
    assert not any(b"$6$secret" in part for _, parts in texts for item in parts if item for part in (item if isinstance(item, tuple) else (item,)))
    print(f"     {count} messages; of a file that only root may read FETCH says {[t for t, _ in texts]}")
    assert sorted(t for t, _ in texts).count("OK") >= 2, "the others are served"
    os.unlink(shadow)
    for where in ("new", "cur"):
        for name in os.listdir(f"{o.maildir(1)}/{where}"):
            if ".root" in name:
                os.unlink(f"{o.maildir(1)}/{where}/{name}")
    o.expect_log(r" (store-odd|store-error) .*root", r"Permission denied")


# --- F02 ---

SOCKETS = ("authd.sock", "postamtd.sock", "queued.sock")


def connect(o, name):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(os.path.join(o.office, "run", name))  # blocks while many wait to be accepted
    s.settimeout(5)
    return s


def head(kind, version=IPC_VERSION):
    return struct.pack("=HH", version, kind)


def request(text):
    return struct.pack("=I", len(text)) + text


def garbage(rng):
    """Messages that nobody means: noise, every type, lengths that lie, JSON that is none, too deep or too long."""
    yield b""
    yield b"\0"
    for n in (1, 3, 4, 5, 100, 5000, 65000):
        yield rng.randbytes(n)
    for kind in range(64):
        yield head(kind) + rng.randbytes(rng.randrange(0, 64))
        yield head(kind)
    for version in (0, 2, 99, 65535):
        yield head(2, version) + request(b"{}")
    for kind in range(12):
        for text in (b"", b"{", b"null", b"[]", b'{"verb":5}', b'{"verb":"no such verb"}', b'{"verb":"status","verb":"stop"}',
                     b"[" * 30000, b'{"a":' * 9000, b'{"verb":"' + b"x" * 60000 + b'"}', b'{"verb":"account list\xff"}',
                     b'{"verb":"account add","address":"a\\u0000b@example.test"}', rng.randbytes(300)):
            yield head(kind) + request(text)
    for n in (0xffffffff, 0x7fffffff, 65536, 1):
        yield head(2) + struct.pack("=I", n) + b"{}"


def roles_pids(o):
    return {(x["role"], x.get("instance")): x.get("pid") for x in o.status()["roles"]}


def garbage_on_sockets(o):
    """Whatever comes: that client may be dropped, the next one is answered, and no process dies."""
    before = roles_pids(o)
    with open("/proc/net/unix") as f:
        named = {os.path.basename(x.split()[-1]) for x in f if o.office in x}
    assert named == set(SOCKETS), f"sockets a local user could find: {named}"
    rng = random.Random(4)
    for name in SOCKETS:
        witness, tried, dropped = connect(o, name), 0, 0
        for message in garbage(rng):
            if b'"stop"' in message:
                assert b'"status","verb"' in message  # refused for its duplicate key
            s = connect(o, name)
            tried += 1
            try:
                s.send(message)
                s.settimeout(0.02)
                if s.recv(IPC_MAX) == b"":
                    dropped += 1
            except TimeoutError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                dropped += 1
            s.close()
        fd = os.open("/dev/null", os.O_RDONLY)
        for n in (1, 3, 200):  # descriptors nobody asked for
            s = connect(o, name)
            s.sendmsg([head(2) + request(b'{"verb":"status"}')], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * n))])
            s.close()
        os.close(fd)
        print(f"     {name}: {tried} messages of garbage, {dropped} clients dropped")
        witness.send(head(9) + b"now me")
        witness.close()
        assert o.status()["running"]
        assert "u0@" in o.cli("account", "list", "--plain").stdout
    assert roles_pids(o) == before, (before, roles_pids(o))
    o.deliver(office.message("after the garbage"), 1)
    o.expect_log(r' ipc-bad peer="postamt command" ')


def talk_without_listening(o):
    """Requests whose answers nobody fetches, connections that say nothing: others are served meanwhile."""
    rss = {n: raw.rss_of(o, n) for n in ("authd", "postamtd", "queued")}
    held = []
    for name, verb in (("authd.sock", b'{"verb":"account list"}'), ("postamtd.sock", b'{"verb":"status"}'),
                       ("queued.sock", b'{"verb":"queue list"}')):
        for _ in range(40):
            held.append(connect(o, name))
        for s in held[-20:]:
            s.setblocking(False)
            try:
                for _ in range(3000):
                    s.send(head(verb_type(o)) + request(verb))
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
    began = time.monotonic()
    assert o.status()["running"] and o.cli("account", "list").returncode == 0
    took = time.monotonic() - began
    grew = {n: raw.rss_of(o, n) - rss[n] for n in rss}
    print(f"     beside 120 clients that do not listen the command takes {took * 1000:.0f} ms; growth {grew} KiB")
    assert took < 10 and max(grew.values()) < 65536, (took, grew)
    for s in held:
        s.close()
    assert o.status()["running"]


def verb_type(o):
    """ADMIN_REQUEST's number: the one that gets an answer."""
    if not hasattr(o, "admin_request"):
        for kind in range(64):
            s = connect(o, "postamtd.sock")
            s.settimeout(0.2)
            try:
                s.send(head(kind) + request(b'{"verb":"status"}'))
                if b'"running":true' in s.recv(IPC_MAX):
                    o.admin_request = kind
                    break
            except (TimeoutError, OSError):
                pass
            finally:
                s.close()
    return o.admin_request


STRANGER = r"""
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print("no way in")
    sys.exit()
try:
    s.send(bytes.fromhex(sys.argv[2]))
    print("answered" if s.recv(65536) else "sent away")
except (ConnectionResetError, BrokenPipeError):
    print("sent away")
"""


def stranger(o):
    """Another user of the machine: the folder's modes keep him out, and if they did not, SO_PEERCRED would."""
    if os.getuid() != 0:
        print("     skipped: only root can become somebody else")
        return
    message = (head(verb_type(o)) + request(b'{"verb":"status"}')).hex()
    for name in SOCKETS:
        path = os.path.join(o.office, "run", name)

        def ask(uid):
            return o.tool("python3", "-c", STRANGER, path, message, user=uid, group=uid, extra_groups=[], env={"HOME": "/"}).stdout.decode().strip()
        assert ask(12345) == "no way in"
        mode = os.stat(path).st_mode & 0o777
        os.chmod(path, 0o666)
        try:
            assert ask(12345) == "sent away", ask(12345)
            assert ask(instance.NOBODY) == "answered" or name == "authd.sock"
        finally:
            os.chmod(path, mode)
    assert o.log().count("control socket used by a user who is not in group postamt") >= 2
    assert o.status()["running"]
    o.expect_log(r" attack .*control socket used by")


if __name__ == "__main__":
    sys.exit(office.main([held_mailbox, many_held, what_is_no_message, hard_links, fifo_instead_of_files, garbage_on_sockets,
                          talk_without_listening, stranger], users=4))
