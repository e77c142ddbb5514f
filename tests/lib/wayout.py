"""A post office with the world around it: an instance, name servers, a sink that may be bad, a clock that can be moved.

    def refused(w): ...                                a step, as office.py has them; w is the WayOut
    sys.exit(wayout.main([refused, ..], zones=lambda w: {"a.test": w.mx("127.0.0.2")}, addresses=["127.0.0.2"]))

zones: function(w) -> zones for zones.py; w.sink (its port is the world's port 25, see outbound.port), w.ca, and w.net
(a folder for files) are there then. settings: function(w) -> more text for postamt.conf. The instance's clock (queued's) is moved
by w.forward(seconds); a sender waits 2 seconds for what the RFC gives minutes.

    i = w.submit("x@a.test", "subject")                  logged in as user 0; the id under which it was kept
    w.event(i, "sent", rcpt="x@a.test")                  waits for that line of the log: its fields
    w.sink.find("subject")                               what came (badserver.Message)
    w.dsn("subject")                                     the notification about it in user 0's INBOX (class Dsn)
    w.queue()                                            postamt queue list
"""
import email
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import badserver
import certs
import control
import instance
import office
import zones as dns_zones

PATIENCE = 2  # seconds; what the sender waits for at most
LINE = re.compile(r"(\S+) (\S+)\[(\d+)\] (\w+) ([\w-]+)((?: \w+=(?:\"(?:\\.|[^\"\\])*\"|\S*))*)$")
FIELD = re.compile(r" (\w+)=(\"(?:\\.|[^\"\\])*\"|\S*)")


class Event(dict):
    """Fields of a line of the log; name, role."""


def parse(line):
    m = LINE.match(line)
    if not m:
        return None
    fields = {}
    for key, value in FIELD.findall(m.group(6)):
        if value.startswith('"'):
            value = re.sub(r'\\(["\\])', r"\1", value[1:-1])
        fields[key] = value
    e = Event(fields)
    e.time, e.role, e.level, e.name = m.group(1), m.group(2), m.group(4), m.group(5)
    return e


class Dsn:
    """RFC 3464's three parts: text (a person's), fields (of the message), recipients (one dict each), original (octets)."""

    def __init__(self, octets):
        self.octets = octets
        self.message = email.message_from_bytes(octets)
        assert self.message.get_content_type() == "multipart/report", self.message.get_content_type()
        assert self.message.get_param("report-type").lower() in ("delivery-status", "global-delivery-status"), self.message["Content-Type"]
        parts = self.message.get_payload()
        assert len(parts) == 3, [p.get_content_type() for p in parts]
        self.text = parts[0].get_payload(decode=True).decode("utf-8")
        status = parts[1].get_payload()
        blocks = status if isinstance(status, list) else email.message_from_string("\n").get_payload()
        self.fields, *self.recipients = [{k.lower(): v for k, v in b.items()} for b in blocks if b.items()]
        self.original = parts[2].as_bytes().split(b"\n\n", 1)[1]
        self.subject = str(email.header.make_header(email.header.decode_header(self.message["Subject"])))
        self.return_path = (re.search(rb"(?im)^Return-Path: *(<.*>)", octets) or [None, None])[1]

    def of(self, address):
        hits = [r for r in self.recipients if r["final-recipient"].split(";")[1].strip() == address]
        assert len(hits) == 1, f"{address} is told of {len(hits)} times: {self.recipients}"
        return hits[0]


class WayOut(office.Office):
    def __init__(self, zones, addresses=("127.0.0.2",), users=1, settings=lambda w: "", signed=(), bogus=(), private=True,
                 patience=PATIENCE):
        super().__init__(users)
        self.make_zones, self.make_settings = zones, settings
        self.signed, self.bogus, self.private, self.patience = signed, bogus, private, patience
        self.addresses, self.dns, self.sink, self.policies = list(addresses), None, None, None
        self.moved = 0  # seconds of the clock

    def __enter__(self):
        self.net = tempfile.mkdtemp(prefix="postamt-net-")
        os.chmod(self.net, 0o755)
        os.environ.update(POSTAMT_TEST_CLOCK="1", POSTAMT_SENDER_PATIENCE=str(self.patience), POSTAMT_FETCH_SECONDS="2")
        try:
            self.ca = certs.Authority(os.path.join(self.net, "ca"))
            self.sink = badserver.Server(self.addresses)
            self.dns = dns_zones.Server(os.path.join(self.net, "dns"), self.make_zones(self), signed=self.signed, bogus=self.bogus)
            self.extra = self.config(self.make_settings(self))
            return super().__enter__()
        except BaseException:
            self.end_net()
            raise

    def __exit__(self, *args):
        super().__exit__(*args)
        self.end_net()

    def end_net(self):
        for x in (self.dns, self.sink):
            if x:
                x.stop()
        if self.policies:
            self.policies.down()
        if not os.environ.get("POSTAMT_KEEP"):
            shutil.rmtree(self.net, ignore_errors=True)

    def config(self, more):
        policy = f" policy_port = {self.policies.port};" if self.policies else ""
        return (f'outbound = {{ port = {self.sink.port}; private = {"true" if self.private else "false"}; ipv6 = "off"; '
                f'ca_file = "{self.ca.file}";{policy} }};\n{self.dns.settings}'
                f"limits = {{ outbound_per_hour = 0; outbound_per_day = 0; }};\n{more}")

    def reconfigure(self, more, private=None):
        """Other settings, by postamt config reload."""
        self.private = self.private if private is None else private
        path = os.path.join(self.office, "postamt.conf")
        with open(path) as f:
            text = f.read()
        assert self.extra in text
        fresh = self.config(more)
        with open(path, "w") as f:
            f.write(text.replace(self.extra, fresh))
        self.extra = fresh
        before = self.log().count(" reload")
        instance.reload(self.office)
        assert office.wait_for(lambda: self.log().count(" reload") > before), "the reload is not in the log"

    # --- for zones and settings ---

    @staticmethod
    def mx(*addresses, more=""):
        """Lines of a zone: servers mx1, mx2 .. in this order."""
        return "".join(f"@ MX {10 * i} mx{i}\nmx{i} A {a}\n" for i, a in enumerate(addresses, 1)) + more

    def secret(self, name, text):
        """A file that only the instance may read."""
        path = os.path.join(self.net, name)
        self.put(path, text.encode() + b"\n")
        os.chmod(path, 0o400)
        return path

    # --- mail ---

    def submit(self, to, subject, n=0, sender=None, text=None, options=(), rcpt_options=(), service="submissions", body="one line\r\n"):
        """to: an address or several. Returns the id of what was kept; a refusal is an AssertionError with the reply."""
        with self.smtp(service, n) as s:
            return self.hand(s, to, subject, self.user(n) if sender is None else sender, text, options, rcpt_options, body)

    def hand(self, s, to, subject, sender, text=None, options=(), rcpt_options=(), body="one line\r\n"):
        """The same over a connection that is open."""
        to = [to] if isinstance(to, str) else to
        s.command_encoding = "utf-8" if "SMTPUTF8" in options else "ascii"
        if text is None:
            text = office.message(subject, body, sender or self.user(0), to[0])
        self.say(s, s.mail(sender, list(options)))
        for x in to:
            self.say(s, s.rcpt(x, list(rcpt_options)))
        code, said = s.data(text)
        self.say(s, (code, said))
        m = re.search(rb"kept as (\S+)", said)
        assert m, f"no id in {said}"
        return m.group(1).decode()

    @staticmethod
    def say(s, reply):
        if reply[0] != 250:
            s.rset()
            raise AssertionError(f"refused: {reply}")

    def inbound(self, to, subject, sender="a@sender.test", text=None, **kw):
        """From the world, through port 25."""
        with self.smtp() as s:
            return self.hand(s, to, subject, sender, text or office.message(subject, sender=sender or "a@sender.test", to=to), **kw)

    # --- what became of it ---

    def events(self, ident=None, name=None):
        out = [parse(x) for x in self.log().splitlines() if ident is None or ident in x]
        return [e for e in out if e and (ident is None or e.get("id") == ident) and (name is None or e.name in name.split("|"))]

    def event(self, ident, name, seconds=15, after=0, **fields):
        """The first such event (name: one or several with | between) behind the first `after` ones, once it is there."""
        def look():
            return [e for e in self.events(ident, name) if all(e.get(k) == v for k, v in fields.items())][after:]
        got = office.wait_for(look, seconds, every=0.05)
        assert got, f"no {name} {fields or ''} of {ident} within {seconds} s; it has: {[(e.name, dict(e)) for e in self.events(ident)]}"
        return got[0]

    def count(self, ident, name, **fields):
        return sum(all(e.get(k) == v for k, v in fields.items()) for e in self.events(ident, name))

    def story(self, ident):
        return [e.name for e in self.events(ident)]

    def dsns(self, subject, n=0):
        """The notifications in an INBOX about messages with that subject."""
        out = []
        for text in self.texts(n):
            if b"multipart/report" in text.split(b"\r\n\r\n", 1)[0]:
                d = Dsn(text)
                if d.subject.endswith(": " + subject):
                    out.append(d)
        return out

    def dsn(self, subject, n=0, seconds=15, number=1):
        """The one notification (or number of them: the last)."""
        got = office.wait_for(lambda: len(self.dsns(subject, n)) >= number and self.dsns(subject, n), seconds, every=0.1)
        assert got and len(got) == number, f"{len(self.dsns(subject, n))} notifications about {subject}"
        return got[-1]

    def queue(self):
        return [json.loads(x) for x in self.cli("queue", "list", "--json").stdout.splitlines()]

    def queue_empty(self, seconds=15):
        left = office.wait_for(lambda: not self.queue(), seconds, every=0.1)
        assert left, f"there is still in the queue: {self.queue()[:3]}"

    def forward(self, seconds):
        control.ask(os.path.join(self.office, "run/queued.sock"), {"verb": "queue clock", "seconds": seconds})
        self.moved += seconds

    def retry(self, ident, seconds=400, name="sent|bounced|deferred", steps=12, wait=PATIENCE + 1, **fields):
        """Moves the clock, in steps where a destination's own back-off is longer, and waits for what the next try brings."""
        before = self.count(ident, name, **fields)
        for _ in range(steps):
            self.forward(seconds)
            if office.wait_for(lambda: self.count(ident, name, **fields) > before, wait, every=0.05):
                break
        return self.event(ident, name, seconds=1, after=before, **fields)


def missing():
    return dns_zones.missing() or (None if shutil.which("openssl") else "openssl is not installed")


def main(steps, **kw):
    reason = missing()
    if reason:
        print("skipped:", reason)
        return office.SKIPPED
    return office.main(steps, office=WayOut(**kw))


def keys(o, domain):
    """{name: TXT} of the domain's DKIM keys, as postamt domain dns has them."""
    rows = [json.loads(x) for x in o.cli("domain", "dns", domain, "--json").stdout.splitlines()]
    return {x["name"] + ".": x["value"] for x in rows if "_domainkey" in x["name"]}


def long_form():
    """--long was given: what takes minutes."""
    if "--long" in sys.argv:
        sys.argv.remove("--long")
        return True
    return False


def rss(pids):
    """Kilobytes of memory of those processes, now."""
    out = subprocess.run(["ps", "-o", "rss=", "-p", ",".join(map(str, pids))], capture_output=True, text=True, timeout=20).stdout
    return sum(map(int, out.split()))


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def since(began):
    return time.monotonic() - began
