"""The sender role by itself, as queued sees it: jobs in, results out, over its real channels and behind its real fence;
and SMTP servers that do as a test tells them."""
import fcntl
import os
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import instance

TYPES = re.findall(r"^    X\((\w+),", open(os.path.join(instance.TOP, "common/ipc.h")).read(), re.M)
WAIT = 60
MAY, MUST, PKIX, DANE, NONE = range(5)
VERDICTS = ["delivered", "relayed", "deferred", "refused"]
OUTCOMES = ["done", "failed"]
REASONS = ["connect", "greylist", "rate", "tls", "dns", "other"]
ID = "0abcdefghjkmn"


def u(v):
    return struct.pack("=Q", v)


def s(v):
    v = v.encode() if isinstance(v, str) else v
    return struct.pack("=I", len(v)) + v


def message(kind, body=b""):
    return struct.pack("=HH", 1, TYPES.index(kind)) + body


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def u(self):
        self.at += 8
        return struct.unpack_from("=Q", self.data, self.at - 8)[0]

    def s(self):
        n = struct.unpack_from("=I", self.data, self.at)[0]
        self.at += 4 + n
        return self.data[self.at - n:self.at]


class Sender:
    """The role. send() gives it a job; result() waits for the next answer."""

    def __init__(self, folder, ca_file, patience=30):
        self.folder = folder
        program = os.path.join(folder, "sender")
        if not os.path.exists(program):
            shutil.copy(os.path.join(instance.BUILD, "queue/sender"), program)
            os.chmod(program, 0o755)
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.peer, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.log_fd, log = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.log, self.closed, self.results = "", [], []
        env = dict(os.environ, POSTAMT_SENDER_PATIENCE=str(patience))
        env.setdefault("POSTAMT_SECCOMP", "kill")
        env.pop("ASAN_OPTIONS", None)  # as instance.py does
        high = [fcntl.fcntl(x.fileno(), fcntl.F_DUPFD_CLOEXEC, 10) for x in (control, log)]
        self.p = subprocess.Popen([program, "--role", "sender", "--instance", "0"], env=env, cwd="/", stdin=subprocess.DEVNULL,
                                  close_fds=False, preexec_fn=lambda: (os.dup2(high[0], 3), os.dup2(high[1], 4)), **instance.as_nobody())
        for fd in high:
            os.close(fd)
        control.close(), log.close()
        conf = os.memfd_create("conf")
        folders = "; ".join(f'{x} = "{folder}/{x}"' for x in ("mail", "state", "spool", "auth", "queue", "run"))
        os.write(conf, f'hostname = "client.test";\npaths = {{ {folders}; }};\noutbound = {{ ca_file = "{ca_file}"; }};\n'.encode())
        self.tell("ROLE_CONFIG", s("postamt.conf"), conf)
        self.tell("ROLE_PEER", s("queued") + u(0), peer.fileno())
        self.tell("ROLE_GO")
        peer.close(), os.close(conf)
        self.control.settimeout(WAIT), self.peer.settimeout(WAIT)
        ready = self.control.recv(65536)
        assert ready[:4] == message("ROLE_READY"), (ready, self.read_log())

    def tell(self, kind, body=b"", fd=None):
        socket.send_fds(self.control, [message(kind, body)], [] if fd is None else [fd])

    def send(self, targets, text=b"Subject: x\r\n\r\nhello\r\n", rcpts=("bob@example.test",), path="anna@client.test", connection=0,
             ret=0, envid="", utf8=False, is_8bit=False, requiretls=False, user="", password="", orcpt=(), notify=(), size=None, ident=ID):
        body = s(ident) + u(connection) + s("client.test") + s(path) + s(envid) + u(ret)
        body += u(utf8 + 2 * is_8bit + 4 * requiretls) + u(7) + u(len(text) if size is None else size) + u(len(rcpts))
        for i, r in enumerate(rcpts):
            body += u(i) + s(r) + s(orcpt[i] if i < len(orcpt) else "") + u(notify[i] if i < len(notify) else 0)
        body += s("example.test") + s(user) + s(password) + u(0) + u(len(targets))
        fd = os.memfd_create("queued")
        os.write(fd, b"ENVELOP" + text)
        socket.send_fds(self.peer, [message("SEND", body + b"".join(targets))], [fd])
        os.close(fd)

    def take(self):
        """One message; a result is kept, and so is what closed by itself."""
        data = self.peer.recv(65536)
        assert data, f"the sender is gone ({self.p.wait()}): {self.read_log()}"
        kind, r = TYPES[struct.unpack("=HH", data[:4])[1]], Reader(data[4:])
        if kind == "SEND_CLOSED":
            self.closed.append(r.u())
            return
        assert kind == "SENT", kind
        out = {"id": r.s().decode(), "connection": r.u(), "outcome": OUTCOMES[r.u()], "reason": REASONS[r.u()],
               "host": r.s().decode(), "tls": r.s().decode(), "rcpt": []}
        for _ in range(r.u()):
            out["rcpt"].append({"index": r.u(), "verdict": VERDICTS[r.u()], "ours": r.u() > 0, "reply": r.s().decode(), "remote": bool(r.u())})
        assert r.at == len(r.data)
        self.results.append(out)

    def result(self):
        while not self.results:
            self.take()
        return self.results.pop(0)

    def one(self, *args, **kw):
        self.send(*args, **kw)
        return self.result()

    def read_log(self):
        while select.select([self.log_fd], [], [], 0)[0]:
            line = self.log_fd.recv(65536)
            if not line:
                break
            self.log += line.decode() + "\n"
        return self.log

    def stop(self):
        """In order: it ends by itself and well."""
        self.tell("ROLE_STOP")
        rc = self.p.wait(WAIT)
        self.control.close(), self.peer.close()
        assert rc == 0, (rc, self.read_log())


def target(port, security=MAY, host="mx.example.test", implicit=False, names=(), tlsa=(), ip="127.0.0.1"):
    out = s(host) + s(socket.inet_aton(ip)) + u(port) + u(security) + u(implicit) + u(len(names))
    out += b"".join(s(n) for n in names) + u(0) + u(len(tlsa))
    for usage, selector, matching, data in tlsa:
        out += u(usage << 16 | selector << 8 | matching) + s(data)
    return out


class Dialogue:
    """One connection to a server."""

    def __init__(self, sock):
        self.sock, self.lines, self.texts, self.buffer, self.tls, self.ended = sock, [], [], b"", None, threading.Event()
        sock.settimeout(WAIT)

    def say(self, text):
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), line
        self.lines.append(line[:-1].decode())
        return self.lines[-1]

    def waits(self):
        """Has the client already said more?"""
        return bool(self.buffer) or bool(select.select([self.sock], [], [], 0.2)[0])

    def data(self):
        """A text of DATA, dots taken away."""
        raw = self.buffer
        parts, self.buffer = [raw], b""
        while not (b"".join(parts[-2:]).endswith(b"\r\n.\r\n") or b"".join(parts) == b".\r\n"):
            parts.append(self.sock.recv(1 << 20))
            if not parts[-1]:
                raise EOFError
            if len(parts[-1]) < 8:
                parts = [b"".join(parts)]
        raw = b"".join(parts)[:-3]
        assert re.search(rb"(?<!\r)\n|\r(?!\n)", raw) is None
        self.texts.append((b"\n" + raw).replace(b"\n.", b"\n")[1:])

    def chunk(self, n):
        parts, have = [self.buffer[:n]], min(n, len(self.buffer))
        self.buffer = self.buffer[n:]
        while have < n:
            parts.append(self.sock.recv(min(n - have, 1 << 20)))
            if not parts[-1]:
                raise EOFError
            have += len(parts[-1])
        self.texts.append(b"".join(parts))

    def start_tls(self, context):
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.tls = self.sock


class Server:
    """Listens on a free port; each connection is one call of script(dialogue)."""

    def __init__(self, script):
        self.script, self.dialogues = script, []
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(512)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            d = Dialogue(sock)
            self.dialogues.append(d)
            threading.Thread(target=self.talk, args=(d,), daemon=True).start()

    def talk(self, d):
        try:
            self.script(d)
        except (EOFError, OSError, ssl.SSLError):
            pass
        finally:
            d.sock.close()
            d.ended.set()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def smtp(offers=("PIPELINING", "8BITMIME", "SIZE 100000000", "DSN"), context=None, implicit=False, greeting="220 mx.example.test", **on):
    """A script: a server that answers well, but for what `on` says of a verb: a reply (with CRLFs, "" for nothing, None to
    close) or a function of dialogue and line that returns one. on["TEXT"]: the word behind a text."""

    def script(d):
        if implicit:
            d.start_tls(context)
        if greeting is None:
            return
        d.say(greeting + "\r\n")
        while True:
            line = d.line()
            verb = line.split()[0].split(":")[0].upper()
            reply = on.get(verb, default_reply(verb))
            if callable(reply):
                reply = reply(d, line)
            if reply is None:
                return
            if verb == "EHLO" and reply == "hello":
                words = ["mx.example.test", *offers] + (["STARTTLS"] if context and not d.tls else [])
                reply = "\r\n".join(["250-" + w for w in words[:-1]] + ["250 " + words[-1]])
            if verb == "BDAT":
                d.chunk(int(line.split()[1]))
                reply = on.get("TEXT", "250 2.0.0 queued")
            if reply:
                d.say(reply + "\r\n")
            if verb == "DATA" and reply.startswith("354"):
                d.data()
                reply = on.get("TEXT", "250 2.0.0 queued")
                if callable(reply):
                    reply = reply(d, "")
                if reply is None:
                    return
                d.say(reply + "\r\n")
            if verb == "STARTTLS" and reply.startswith("220"):
                d.start_tls(context)
            if verb == "QUIT":
                return

    return script


def default_reply(verb):
    return {"EHLO": "hello", "DATA": "354 go on", "STARTTLS": "220 go", "QUIT": "221 bye", "AUTH": "535 no"}.get(verb, "250 ok")


class Certificates:
    """An authority, a certificate of it for mx.example.test, one that has expired, one that signed itself."""

    def __init__(self, folder):
        self.folder = folder
        self.run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=authority")
        self.leaf("good", "DNS:mx.example.test,DNS:*.wild.test")
        self.leaf("expired", "DNS:mx.example.test", days=-1)
        self.run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout self.key -out self.pem -days 10 -subj /CN=mx.example.test")
        with open(self.path("chain.pem"), "w") as f:
            f.write(open(self.path("good.pem")).read() + open(self.path("ca.pem")).read())

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, command):
        subprocess.run(["openssl", *command.split()], cwd=self.folder, check=True, capture_output=True)

    def leaf(self, name, alt, days=10):
        self.run(f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN=mx.example.test")
        with open(self.path(name + ".ext"), "w") as f:
            f.write(f"subjectAltName={alt}\n")
        self.run(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days {days} -extfile {name}.ext")

    def context(self, name, chain=None):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(self.path((chain or name) + ".pem"), self.path(name + ".key"))
        return c

    def digest(self, name, selector=1):
        import hashlib
        if selector == 1:
            self.run(f"x509 -in {name}.pem -pubkey -noout -out {name}.pub")
            self.run(f"pkey -pubin -in {name}.pub -outform DER -out {name}.der")
        else:
            self.run(f"x509 -in {name}.pem -outform DER -out {name}.der")
        with open(self.path(name + ".der"), "rb") as f:
            return hashlib.sha256(f.read()).digest()
