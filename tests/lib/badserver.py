"""A mail server on loopback that keeps what it gets, and behaves as badly as a test tells it.

One port, any number of addresses (127.0.0.2 ..), each with a behaviour of its own that may change at any time:

    with badserver.Server(["127.0.0.2", "127.0.0.3"]) as s:          s.port: free on all of them
        s["127.0.0.2"].replies["rcpt"] = "451 4.7.1 come again"
        ..
        m = s.wait(1)[0]                                             m.text, m.mail, m.rcpts ..: class Message
        s.messages("127.0.0.3"), s.connections, s.commands(), s.peak("127.0.0.2"), s.hang_up(), s.down(..), s.up(..)

Behaviour (fields that may be set):
    keywords     what EHLO announces; default KEYWORDS. STARTTLS and AUTH are added when tls and users are set
    tls          a certs.Leaf: STARTTLS is offered with it. strip = True: offered by nobody, though tls is set
    implicit     TLS from the first octet
    users        {name: password}: AUTH PLAIN LOGIN is offered, MAIL without it is refused with 530. tls_only_auth = True:
                 AUTH is offered inside TLS only
    limit        connections at a time; others are greeted with 421
    per_connection   messages of one connection; then 421 4.7.0
    replies      stage -> reply. Stages: greeting ehlo helo starttls handshake auth mail rcpt data dot bdat rset noop quit,
                 and "rcpt:anna@example.org" for one recipient (lower case)

A reply is one of
    None                 as a good server does it (for handshake: TLS)
    "451 4.3.0 text"     a line; "250-a\\r\\n250 b" several. 2xx and 3xx count as taken, others refuse
    b"octets"            exactly these, nothing added; what it counts as is told by its first octet
    CLOSE, RST           the connection ends in order, or with a reset
    HALF_CLOSE           end of file to the client, while we read on
    SILENT               no reply, until the client goes
    Slow(reply, seconds) one octet every so many seconds
    Wait(seconds, reply) the reply comes late; Wait(event, reply): when a threading.Event is set
    Endless(octets)      this again and again until the client goes
    Taken(action)        at dot and bdat: the message is kept, then this happens instead of the reply (lost reply:
                         Taken(CLOSE), Taken(SILENT))
    Then(reply, action)  the reply, then the action
    [a, b, ..]           one after the other for each time the stage is reached at this address; the last stays in force
    function(session, argument) -> reply

At "data" a 354 asks for the text; at "bdat" the chunk was read before. Greylisting: replies["rcpt"] = greylist().
Octets of "handshake" are sent where TLS should begin (garbage, or plain text); CLOSE, RST and SILENT work there as well.
"""
import base64
import dataclasses
import itertools
import re
import socket
import ssl
import struct
import threading
import time

KEYWORDS = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE 52428800"]
NAME = "sink.test"
IDLE_SECONDS = 60  # a client that says nothing for so long is gone


class Action:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


CLOSE, RST, HALF_CLOSE, SILENT = Action("CLOSE"), Action("RST"), Action("HALF_CLOSE"), Action("SILENT")


@dataclasses.dataclass
class Slow:
    reply: object
    seconds: float


@dataclasses.dataclass
class Wait:
    until: object
    reply: object


@dataclasses.dataclass
class Endless:
    octets: bytes


@dataclasses.dataclass
class Taken:
    action: object


@dataclasses.dataclass
class Then:
    reply: object
    action: object


def greylist(reply="451 4.7.1 Greylisted, please come again", times=1):
    """For replies["rcpt"]: each pair of sender and recipient is let in after so many refusals."""
    seen = {}

    def ask(session, address):
        key = session.mail, address.lower()
        seen[key] = seen.get(key, 0) + 1
        return reply if seen[key] <= times else None
    return ask


@dataclasses.dataclass
class Behaviour:
    keywords: list = dataclasses.field(default_factory=lambda: list(KEYWORDS))
    tls: object = None
    strip: bool = False
    implicit: bool = False
    users: dict = dataclasses.field(default_factory=dict)
    tls_only_auth: bool = False
    limit: int = 0
    per_connection: int = 0
    replies: dict = dataclasses.field(default_factory=dict)

    def reset(self):
        """A good server again."""
        self.__init__()


@dataclasses.dataclass
class Message:
    """One transaction whose text came whole; accepted: the server said so (or would have: a lost reply)."""
    address: str        # ours, that took it
    connection: int
    helo: str
    tls: str            # "TLSv1.3", None: in clear
    sni: str
    user: str           # who logged in
    mail: str           # reverse-path
    mail_params: dict   # {"SIZE": "1234", "SMTPUTF8": ""}
    rcpts: list         # [(address, {"NOTIFY": ..})] of those that were taken
    text: bytes         # as it was sent: CRLF, no doubled dots
    chunked: bool
    accepted: bool
    when: float         # time.monotonic()

    @property
    def to(self):
        return [a for a, _ in self.rcpts]

    def header(self, name):
        """The field's value, unfolded; None."""
        head = self.text.split(b"\r\n\r\n", 1)[0]
        m = re.search(rb"(?im)^" + re.escape(name.encode()) + rb":([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head)
        return re.sub(rb"\r\n(?=[ \t])", b"", m.group(1)).decode(errors="replace").strip() if m else None

    @property
    def subject(self):
        return self.header("Subject")


@dataclasses.dataclass
class Connection:
    number: int
    address: str
    peer: tuple
    began: float
    ended: float = None
    commands: list = dataclasses.field(default_factory=list)  # lines as they came, "" for the octets of a text
    messages: int = 0
    error: str = None   # what broke it off: "ConnectionResetError", a TLS alert
    leftover: bytes = b""  # octets that were sent in clear behind STARTTLS


class Gone(Exception):
    pass


class Session:
    """One connection, in a thread of its own."""

    def __init__(self, server, sock, conn):
        self.server, self.sock, self.conn = server, sock, conn
        self.how = server[conn.address]
        self.buf = b""
        self.helo = self.tls = self.sni = self.user = None
        self.clear()

    def clear(self):
        self.mail, self.mail_params, self.rcpts, self.chunks = None, {}, [], None

    # --- octets ---

    def read_more(self):
        got = self.sock.recv(1 << 16)
        if not got:
            raise Gone("end of file")
        self.buf += got

    def line(self):
        while b"\n" not in self.buf:
            if len(self.buf) > 1 << 20:
                raise Gone("a line of a megabyte")
            self.read_more()
        line, self.buf = self.buf.split(b"\n", 1)
        return line.rstrip(b"\r")

    def octets(self, n):
        while len(self.buf) < n:
            self.read_more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def until_dot(self):
        """Large texts come in thousands of pieces: each octet is looked at once."""
        pieces, tail = [self.buf], b"\r\n" + self.buf
        while b"\r\n.\r\n" not in tail:
            got = self.sock.recv(1 << 18)
            if not got:
                raise Gone("end of file within a text")
            pieces.append(got)
            tail = tail[-4:] + got
        text, self.buf = (b"\r\n" + b"".join(pieces)).split(b"\r\n.\r\n", 1)
        return (text + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:]

    def wait_for_end(self):
        while self.sock.recv(1 << 16):
            pass
        raise Gone("end of file")

    # --- replies ---

    def next_reply(self, stage, argument):
        with self.server.lock:
            r = self.how.replies.get(stage)
            if isinstance(r, list):
                r = r.pop(0) if len(r) > 1 else r[0]
        return r(self, argument) if callable(r) else r

    def reply(self, stage, good, argument=None):
        """Says what the stage says here; true when that was a yes."""
        r = self.next_reply(stage, argument)
        return self.say(good if r is None else r)

    def say(self, r):
        if isinstance(r, str):
            r = r.encode() + b"\r\n"
        if isinstance(r, bytes):
            self.sock.sendall(r)
            return r[:1] in b"23" and bool(r)
        if isinstance(r, Slow):
            octets = r.reply.encode() + b"\r\n" if isinstance(r.reply, str) else r.reply
            for i in range(len(octets)):
                self.sock.sendall(octets[i:i + 1])
                time.sleep(r.seconds)
            return octets[:1] in b"23"
        if isinstance(r, Wait):
            r.until.wait() if isinstance(r.until, threading.Event) else time.sleep(r.until)
            return self.say(r.reply)
        if isinstance(r, Then):
            self.say(r.reply)
            return self.say(r.action)
        if isinstance(r, Taken):
            return self.say(r.action)
        if isinstance(r, Endless):
            while True:
                self.sock.sendall(r.octets)
        if r is HALF_CLOSE:
            self.sock.shutdown(socket.SHUT_WR)
            self.wait_for_end()
        if r is SILENT:
            self.wait_for_end()
        if r is RST:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone(str(r))

    # --- the dialogue ---

    def run(self):
        if self.how.implicit:
            self.handshake()
        open_now = self.server.count(self.conn.address)
        if self.how.limit and open_now > self.how.limit:
            self.say("421 4.7.0 Too many connections")
            return
        if not self.reply("greeting", f"220 {NAME} ESMTP"):
            return self.drain()
        while True:
            line = self.line().decode("utf-8", "replace")
            self.conn.commands.append(line)
            verb, _, argument = line.partition(" ")
            action = getattr(self, "do_" + verb.lower(), None)
            if verb.lower() == "quit":
                self.reply("quit", "221 2.0.0 Bye")
                return
            if action:
                action(argument)
            else:
                self.say("500 5.5.1 What?")

    def drain(self):
        """After a greeting that is no 2xx a client says QUIT or goes."""
        self.sock.settimeout(5)
        try:
            self.line()
            self.reply("quit", "221 2.0.0 Bye")
        except (Gone, OSError):
            pass

    def do_ehlo(self, argument):
        self.helo = argument
        self.clear()
        words = list(self.how.keywords)
        if self.how.tls and not self.tls and not self.how.strip:
            words.append("STARTTLS")
        if self.how.users and (self.tls or not self.how.tls_only_auth):
            words.append("AUTH PLAIN LOGIN")
        rows = [f"{NAME} says hello", *words]
        self.reply("ehlo", "\r\n".join(f"250{'-' if i < len(rows) - 1 else ' '}{w}" for i, w in enumerate(rows)), argument)

    def do_helo(self, argument):
        self.helo = argument
        self.reply("helo", f"250 {NAME}", argument)

    def do_starttls(self, argument):
        if not self.how.tls or self.tls:
            self.say("502 5.5.1 No TLS here")
        elif self.reply("starttls", "220 2.0.0 Go ahead"):
            self.handshake()

    def handshake(self):
        self.conn.leftover, self.buf = self.buf, b""
        r = self.next_reply("handshake", None)
        if r is not None:
            self.say(r)
            self.wait_for_end()
        ctx = self.how.tls.context()
        ctx.sni_callback = lambda _sock, name, _ctx: setattr(self, "sni", name)
        self.sock = ctx.wrap_socket(self.sock, server_side=True)
        with self.server.lock:
            self.server.current[self.conn.number] = self.conn.address, self.sock
        self.tls = self.sock.version()
        self.helo = None

    def do_auth(self, argument):
        mechanism, _, first = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            if not first:
                self.say("334 ")
                first = self.line().decode()
            parts = base64.b64decode(first).split(b"\0")
            name, password = (parts + [b"", b""])[1:3]
        else:
            got = [base64.b64decode(first)] if first else []
            for question in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")[len(got):]:
                self.say("334 " + question)
                got.append(base64.b64decode(self.line()))
            name, password = got
        name, password = name.decode(), password.decode()
        good = self.how.users.get(name) == password
        if self.reply("auth", "235 2.7.0 Welcome" if good else "535 5.7.8 Wrong", name) and good:
            self.user = name

    @staticmethod
    def path(argument):
        """FROM:<a@b> X=1 -> a@b, {"X": "1"}"""
        m = re.match(r"(?i)(?:FROM|TO):\s*<((?:\"(?:\\.|[^\"])*\"|[^>])*)>(.*)", argument)
        if not m:
            return None, {}
        params = dict((p.partition("=")[::2]) for p in m.group(2).split())
        return m.group(1), {k.upper(): v for k, v in params.items()}

    def do_mail(self, argument):
        path, params = self.path(argument)
        if self.how.users and not self.user:
            self.say("530 5.7.0 Log in first")
        elif path is None or self.mail is not None:
            self.say("503 5.5.1 Not now, or not so")
        elif self.how.per_connection and self.conn.messages >= self.how.per_connection:
            self.say("421 4.7.0 Enough for one connection")
            raise Gone("per_connection")
        else:
            self.mail = path
            if self.reply("mail", "250 2.1.0 Fine", path):
                self.mail_params = params
            else:
                self.clear()

    def do_rcpt(self, argument):
        path, params = self.path(argument)
        if path is None or self.mail is None:
            self.say("503 5.5.1 Not now, or not so")
            return
        stage = f"rcpt:{path.lower()}"
        if self.reply(stage if stage in self.how.replies else "rcpt", "250 2.1.5 Fine", path):
            self.rcpts.append((path, params))

    def do_data(self, argument):
        if not self.rcpts:
            self.say("554 5.5.1 No valid recipients")
        elif self.reply("data", "354 Go ahead"):
            text = self.until_dot()
            self.conn.commands.append("")
            self.take("dot", text, False)

    def do_bdat(self, argument):
        words = argument.split()
        chunk = self.octets(int(words[0]))
        last = len(words) > 1
        if not self.rcpts:
            self.say("503 5.5.1 No valid recipients")
            return
        self.chunks = (self.chunks or b"") + chunk
        if last:
            self.take("bdat", self.chunks, True)
        elif not self.reply("chunk", "250 2.0.0 Next", argument):
            self.clear()

    def take(self, stage, text, chunked):
        r = self.next_reply(stage, text)
        good = "250 2.0.0 Taken" if r is None else r
        m = Message(self.conn.address, self.conn.number, self.helo, self.tls, self.sni, self.user, self.mail, self.mail_params,
                    self.rcpts, text, chunked, self.is_yes(good), time.monotonic())
        self.conn.messages += 1
        self.clear()
        self.server.keep(m)
        self.say(good)

    def is_yes(self, r):
        if isinstance(r, Taken):
            return True
        if isinstance(r, (Slow, Wait, Then)):
            return self.is_yes(r.reply)
        return isinstance(r, (str, bytes)) and r[:1] in ("2", b"2")

    def do_rset(self, argument):
        self.clear()
        self.reply("rset", "250 2.0.0 Fine")

    def do_noop(self, argument):
        self.reply("noop", "250 2.0.0 Fine")


class Server:
    def __init__(self, addresses=("127.0.0.2",), port=0, keep_texts=True):
        """keep_texts false: Message.text is empty (loads of many messages)."""
        self.addresses, self.keep_texts = list(addresses), keep_texts
        self.how = {a: Behaviour() for a in self.addresses}
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.taken, self.connections, self.open, self.most = [], [], {}, {}
        self.numbers = itertools.count(1)
        self.socks, self.stopping, self.current = {}, False, {}
        self.port = port
        self.listen()

    def __getitem__(self, address):
        return self.how[address]

    def listen(self):
        for attempt in range(20):
            port = self.port
            try:
                for a in self.addresses:
                    s = socket.socket()
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    self.socks[a] = s
                    s.bind((a, port))
                    port = s.getsockname()[1]
                    s.listen(512)
                break
            except OSError:
                for s in self.socks.values():
                    s.close()
                if self.port or attempt == 19:
                    raise
        self.port = port
        for a, s in self.socks.items():
            threading.Thread(target=self.accept, args=(a, s), daemon=True).start()

    def down(self, address):
        """Nobody is there any more: connections end, new ones are refused. up() brings it back."""
        s = self.socks.pop(address)
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        self.hang_up(address)

    def hang_up(self, address=None):
        """Ends the connections that are open: clients keep them for their next message, whatever the server has become."""
        with self.lock:
            left = [s for a, s in self.current.values() if address in (None, a)]
        for s in left:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        deadline = time.monotonic() + 2
        with self.changed:
            while any(self.open.get(a) for a in self.addresses if address in (None, a)) and time.monotonic() < deadline:
                self.changed.wait(0.05)

    def up(self, address):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, self.port))
        s.listen(512)
        self.socks[address] = s
        threading.Thread(target=self.accept, args=(address, s), daemon=True).start()

    def accept(self, address, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            with self.lock:
                conn = Connection(next(self.numbers), address, peer, time.monotonic())
                self.connections.append(conn)
                self.open[address] = self.open.get(address, 0) + 1
                self.most[address] = max(self.most.get(address, 0), self.open[address])
                self.current[conn.number] = address, sock
            threading.Thread(target=self.serve, args=(sock, conn), daemon=True).start()

    def serve(self, sock, conn):
        sock.settimeout(IDLE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(self, sock, conn)
        try:
            session.run()
        except Gone as e:
            conn.error = str(e)
        except (OSError, ssl.SSLError, ValueError) as e:
            conn.error = f"{type(e).__name__}: {e}"
        finally:
            session.sock.close()
            with self.changed:
                conn.ended = time.monotonic()
                self.open[conn.address] -= 1
                self.current.pop(conn.number, None)
                self.changed.notify_all()

    def count(self, address):
        with self.lock:
            return self.open[address]

    def keep(self, m):
        if not self.keep_texts:
            m.text = b""
        with self.changed:
            self.taken.append(m)
            self.changed.notify_all()

    # --- what tests ask ---

    def messages(self, address=None, accepted=True):
        """Those that were accepted (accepted=None: and those that were refused after their text)."""
        with self.lock:
            return [m for m in self.taken if (address is None or m.address == address) and (accepted is None or m.accepted == accepted)]

    def wait(self, n=1, address=None, seconds=20, where=lambda m: True):
        """The messages, once there are n that are so; an AssertionError says what there was."""
        deadline = time.monotonic() + seconds
        while True:
            got = [m for m in self.messages(address) if where(m)]
            left = deadline - time.monotonic()
            if len(got) >= n:
                return got
            if left <= 0:
                raise AssertionError(f"{len(got)} of {n} messages came to {address or 'the sink'} within {seconds} s; connections: "
                                     f"{[(c.address, c.commands[-4:], c.error) for c in self.connections[-5:]]}")
            with self.changed:
                self.changed.wait(min(left, 0.2))

    def find(self, subject, seconds=20):
        """The one message with this subject."""
        got = self.wait(1, seconds=seconds, where=lambda m: m.subject == subject)
        assert len(got) == 1, f"{len(got)} messages with the subject {subject}"
        return got[0]

    def commands(self, address=None):
        with self.lock:
            return [line for c in self.connections if address in (None, c.address) for line in c.commands]

    def tries(self, address=None):
        """Number of connections so far."""
        with self.lock:
            return sum(address in (None, c.address) for c in self.connections)

    def peak(self, address):
        return self.most.get(address, 0)

    def clear(self):
        """Forgets what came and makes all addresses good."""
        with self.lock:
            self.taken.clear()
            self.connections.clear()
            self.most.clear()
        for b in self.how.values():
            b.reset()

    def stop(self):
        for a in list(self.socks):
            self.down(a)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
