#!/usr/bin/env python3
"""What bad servers do and what comes of it: delivered, tried again or given up, and what the sender is told and when.

Each row of ROWS is a domain with a server of its own that behaves so; all are written to at once. The clock is moved where
hours pass."""
import re
import sys
import time

import badserver
import instance
import office
import wayout
from badserver import CLOSE, HALF_CLOSE, RST, SILENT, Endless, Slow, Taken, greylist

PLAIN = [k for k in badserver.KEYWORDS if k != "CHUNKING"]
NO_PIPE = [k for k in PLAIN if k != "PIPELINING"]
ANY = "sent|deferred|bounced"  # it must come to an end; which is a matter of taste
LONG = b"220 " + b"x" * 100000 + b"\r\n"

# name, replies, outcome, class of a deferral (None: any) or status of a bounce (a regex), keywords
ROWS = [
    ("good", {}, "sent", None, None),
    ("good-data", {}, "sent", None, PLAIN),
    ("good-slowly", {}, "sent", None, NO_PIPE),
    ("good-bare", {}, "sent", None, []),
    ("greeting-421", {"greeting": "421 4.3.2 shutting down"}, "deferred", None, None),
    ("greeting-450", {"greeting": "450 4.3.2 busy"}, "deferred", None, None),
    ("greeting-554", {"greeting": "554 5.7.1 go away"}, "deferred|bounced", None, None),
    ("greeting-slow", {"greeting": Slow("220 x", 0.1)}, "sent", None, None),
    ("greeting-tarpit", {"greeting": Slow("220 " + "x" * 100, 0.7)}, "deferred", "connect", None),
    ("greeting-long", {"greeting": LONG}, ANY, None, None),
    ("greeting-endless", {"greeting": Endless(b"220-more\r\n")}, "deferred", None, None),
    ("greeting-octets", {"greeting": Endless(b"x" * 4096)}, "deferred", None, None),
    ("greeting-not-smtp", {"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, "deferred", None, None),
    ("greeting-http", {"greeting": b"HTTP/1.0 400 Bad Request\r\n\r\n"}, "deferred", None, None),
    ("ehlo-502", {"ehlo": "502 5.5.1 what?"}, "sent", None, None),
    ("ehlo-451", {"ehlo": "451 4.3.0 later"}, "deferred", None, None),
    ("ehlo-421", {"ehlo": "421 4.3.0 later"}, "deferred", None, None),
    ("ehlo-endless", {"ehlo": Endless(b"250-PIPELINING\r\n")}, "deferred", None, None),
    ("ehlo-mixed", {"ehlo": b"250-a\r\n550 b\r\n"}, ANY, None, None),
    ("ehlo-odd", {"ehlo": b"250-x\r\n250-SIZE 99999999999999999999999\r\n250-SIZE\r\n250-AUTH\r\n250 \r\n"}, "sent", None, None),
    ("mail-451", {"mail": "451 4.3.0 later"}, "deferred", "other", None),
    ("mail-421", {"mail": "421 4.3.2 later"}, "deferred", None, None),
    ("mail-550", {"mail": "550 5.7.1 not you"}, "bounced", r"5\.7\.1", None),
    ("mail-552", {"mail": "552 5.3.4 too large"}, "bounced", r"5\.3\.4", None),
    ("rcpt-450", {"rcpt": "450 4.2.1 later"}, "deferred", None, None),
    ("rcpt-452", {"rcpt": "452 4.2.2 mailbox full"}, "deferred", None, None),
    ("rcpt-550", {"rcpt": "550 5.1.1 nobody here"}, "bounced", r"5\.1\.1", None),
    ("rcpt-550-plain", {"rcpt": "550 nobody here"}, "bounced", r"5\.\d\.\d", None),
    ("rcpt-lines", {"rcpt": "550-5.1.1 nobody\r\n550-5.1.1 at all\r\n550 5.1.1 here"}, "bounced", r"5\.1\.1", None),
    ("rcpt-nul", {"rcpt": b"550 5.1.1 no\0body\r here\x1b[31m\x07\r\n"}, "deferred|bounced", None, None),
    ("rcpt-250-5xx", {"rcpt": b"250-fine\r\n550 5.1.1 or not\r\n"}, "deferred|bounced", None, None),
    ("rcpt-endless", {"rcpt": Endless(b"550-5.1.1 no\r\n")}, "deferred", None, None),
    ("rcpt-half", {"rcpt": HALF_CLOSE}, "deferred", "connect", None),
    ("data-451", {"data": "451 4.3.0 later"}, "deferred", "other", PLAIN),
    ("data-554", {"data": "554 5.6.0 no"}, "bounced", r"5\.6\.0", PLAIN),
    ("data-250", {"data": "250 what now"}, "deferred|bounced", None, PLAIN),
    ("dot-451", {"dot": "451 4.3.0 later"}, "deferred", "other", PLAIN),
    ("dot-554", {"dot": "554 5.7.1 spam"}, "bounced", r"5\.7\.1", PLAIN),
    ("dot-garbage", {"dot": b"yes\r\n"}, "deferred", None, PLAIN),
    ("bdat-451", {"bdat": "451 4.3.0 later"}, "deferred", "other", None),
    ("bdat-554", {"bdat": "554 5.7.1 spam"}, "bounced", r"5\.7\.1", None),
    ("quit-close", {"quit": CLOSE}, "sent", None, None),
    ("quit-silent", {"quit": SILENT}, "sent", None, None),
    ("quit-421", {"quit": "421 4.0.0 never"}, "sent", None, None),
    ("rate-mail", {"mail": "421 4.7.28 Our system has detected an unusual rate of mail"}, "deferred", "rate", None),
    ("rate-rcpt", {"rcpt": "450 4.7.1 rate limit exceeded, try again later"}, "deferred", "rate", None),
    ("greylisted", {"rcpt": greylist()}, "deferred", "greylist", None),
    ("oversized", {}, "bounced", r"5\.3\.4", ["SIZE 100"]),
]
ROWS += [(f"{stage}-{action.name.lower()}", {stage: action}, "deferred", "connect", NO_PIPE if stage in ("data", "dot") else None)
         for stage in ("greeting", "ehlo", "mail", "rcpt", "data", "dot") for action in (CLOSE, RST, SILENT)]
# the message is there, but nobody says so
LOST = [("lost-close", {"dot": [Taken(CLOSE), None]}, PLAIN), ("lost-rst", {"dot": [Taken(RST), None]}, PLAIN),
        ("lost-silent", {"dot": [Taken(SILENT), None]}, PLAIN), ("lost-bdat", {"bdat": [Taken(CLOSE), None]}, None)]

OTHERS = {"dsn": "127.0.2.1", "nodsn": "127.0.2.2", "partial": "127.0.2.3", "down": "127.0.2.4", "down2": "127.0.2.9", "crowd": "127.0.2.5", "enough": "127.0.2.6",
          "gone": "127.0.2.7", "plain": "127.0.2.8"}


def address_of(i):
    return f"127.0.1.{i + 1}"


def zones(w):
    names = [r[0] for r in ROWS] + [r[0] for r in LOST]
    out = {f"{name}.test": w.mx(address_of(i)) for i, name in enumerate(names)}
    return {**out, **{f"{name}.test": w.mx(a) for name, a in OTHERS.items()}}


def behave(w):
    for i, (name, replies, *_, keywords) in enumerate(ROWS):
        w.sink[address_of(i)].replies = replies
        if keywords is not None:
            w.sink[address_of(i)].keywords = keywords
    for i, (name, replies, keywords) in enumerate(LOST, len(ROWS)):
        w.sink[address_of(i)].replies = replies
        if keywords is not None:
            w.sink[address_of(i)].keywords = keywords


def check_row(w, row, ident):
    name, _, wanted, detail, _ = row
    to = f"x@{name}.test"
    e = w.event(ident, ANY, rcpt=to, seconds=40)
    if e.name not in wanted.split("|"):
        return f"{name}: {e.name}, not {wanted}: {dict(e)}"
    if e.name == "deferred" and detail and wanted == "deferred" and e["reason"] != detail:
        return f"{name}: the class is {e['reason']}, not {detail}: {dict(e)}"
    if any(ord(c) < 32 or ord(c) == 127 for v in e.values() for c in v):
        return f"{name}: a control in the log: {dict(e)}"
    if e.name == "bounced":
        d = w.dsn(name)
        r = d.of(to)
        if r["action"] != "failed" or (wanted == "bounced" and not re.fullmatch(detail, r["status"])):
            return f"{name}: the notification says {r}"
        if re.search(rb"[\x00\x07\x1b]|\r(?!\n)", d.octets):
            return f"{name}: a control in the notification"
    got = [m for m in w.sink.messages() if m.subject == name]
    if len(got) != (e.name == "sent"):
        return f"{name}: {e.name}, and the server has {len(got)} of it"
    return None


def table(w):
    """All rows at once; nothing but the row's own outcome, and no process lost over it."""
    behave(w)
    roles = {r: x["pid"] for r, x in w.roles().items()} if "pid" in next(iter(w.roles().values())) else None
    ids = {}
    with w.smtp("submissions", 0) as s:
        for name, *_ in ROWS:
            ids[name] = w.hand(s, f"x@{name}.test", name, w.user(0))
    wrong = [x for x in (check_row(w, row, ids[row[0]]) for row in ROWS) if x]
    assert not wrong, "\n".join(wrong)
    assert roles is None or roles == {r: x["pid"] for r, x in w.roles().items()}, "a role was started anew"
    w.cli("queue", "drop", "--all", "--yes")
    senders = [p for p in instance.descendants(w.info["pid"]) if name_of(p) == "sender"]
    assert not senders or wayout.rss(senders) < (100 << 10) * len(senders), "senders grew"


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def hostile_pipelining(w):
    """Replies to what was never asked, right behind the greeting, are no answers to what comes."""
    a = OTHERS["plain"]
    w.sink[a].replies = {"greeting": b"220 hi\r\n250 x\r\n250 x\r\n250 x\r\n354 go\r\n250 taken\r\n", "mail": "550 5.7.1 no"}
    ident = w.submit("x@plain.test", "ahead")
    w.event(ident, ANY, rcpt="x@plain.test")
    assert not [m for m in w.sink.messages() if m.subject == "ahead"]
    w.sink[a].reset()


def greylist_let_in(w):
    """A minute or two later it is let in."""
    ident = w.submit("y@greylisted.test", "grey")
    e = w.event(ident, "deferred", rcpt="y@greylisted.test")
    assert e["reason"] == "greylist" and 55 <= int(e["next"]) <= 90, e
    assert w.retry(ident, 90).name == "sent"
    w.sink.find("grey")


def lost_reply(w):
    """The reply to the text is lost: it goes again, once, as the same message."""
    ids = {name: w.submit(f"x@{name}.test", name) for name, *_ in LOST}
    for name, ident in ids.items():
        w.event(ident, "deferred", rcpt=f"x@{name}.test")
    for name, ident in ids.items():
        w.count(ident, "sent") or w.retry(ident, 450, "sent", rcpt=f"x@{name}.test")
        got = [m for m in w.sink.messages() if m.subject == name]
        assert len(got) == 2 and got[0].header("Message-ID") == got[1].header("Message-ID"), f"{name}: {len(got)} times"
        assert got[0].text == got[1].text, f"{name}: the second differs from the first"
    w.forward(100000)
    time.sleep(0.5)
    assert all(sum(m.subject == name for m in w.sink.messages()) == 2 for name in ids)


def partial(w):
    """One is taken, one is deferred, one refused: each has its own end."""
    how = w.sink[OTHERS["partial"]]
    how.replies = {"rcpt:later@partial.test": ["450 4.2.1 later", None], "rcpt:no@partial.test": "550 5.1.1 no such user"}
    ident = w.submit(["yes@partial.test", "later@partial.test", "no@partial.test"], "partial")
    w.event(ident, "sent", rcpt="yes@partial.test")
    w.event(ident, "deferred", rcpt="later@partial.test")
    w.event(ident, "bounced", rcpt="no@partial.test")
    d = w.dsn("partial")
    assert [r["final-recipient"].replace(" ", "") for r in d.recipients] == ["rfc822;no@partial.test"], d.recipients
    assert [m["left"] for m in w.queue() if m["id"] == ident] == [1], w.queue()
    assert w.retry(ident, rcpt="later@partial.test").name == "sent"
    assert [m.to for m in w.sink.messages() if m.subject == "partial"] == [["yes@partial.test"], ["later@partial.test"]]
    w.event(ident, "queue-done")


def notification(w):
    """The three parts and all that a program reads in them."""
    w.sink[OTHERS["dsn"]].replies = {"rcpt": "550 5.1.1 <no@dsn.test>: Recipient address rejected"}
    ident = w.submit("no@dsn.test", "about this", options=["RET=HDRS", "ENVID=QQ+2B314"],
                     rcpt_options=["ORCPT=rfc822;first+2Blast@old.test", "NOTIFY=FAILURE,DELAY"], body="the body\r\n")
    d = w.dsn("about this")
    r = d.of("no@dsn.test")
    assert r["action"] == "failed" and r["status"] == "5.1.1", r
    assert re.sub(r"\s+", " ", r["diagnostic-code"]) == "smtp; 550 5.1.1 <no@dsn.test>: Recipient address rejected", r
    assert re.sub(r"\s", "", r["original-recipient"]) == "rfc822;first+2Blast@old.test" or \
        re.sub(r"\s", "", r["original-recipient"]) == "rfc822;first+last@old.test", r
    assert "mx1.dsn.test" in r["remote-mta"], r
    assert d.fields["reporting-mta"].replace(" ", "") == "dns;mail.example.test", d.fields
    assert d.fields["original-envelope-id"] == "QQ+314", d.fields
    assert d.return_path == b"<>", d.octets[:300]
    assert b"Subject: about this" in d.original and b"the body" not in d.original, d.original
    words = " ".join(d.text.split())
    assert "no@dsn.test" in words and "Recipient address rejected" in words, d.text
    assert d.message["To"].strip("<>") == "u0@example.test" and d.message["Auto-Submitted"], d.message.items()
    assert b"\r\nDKIM-Signature:" in b"\r\n" + d.octets.split(b"\r\n\r\n", 1)[0], "the notification is not signed"
    w.event(ident, "notified")


def handed_on(w):
    """RFC 3461: what the next server announces it gets, exactly."""
    w.sink[OTHERS["dsn"]].reset()
    w.submit("x@dsn.test", "params", options=["RET=FULL", "ENVID=a+2Bb+3D"], rcpt_options=["ORCPT=rfc822;o+2Bp@old.test", "NOTIFY=SUCCESS,DELAY"])
    m = w.sink.find("params")
    assert m.mail_params["RET"] == "FULL" and m.mail_params["ENVID"] == "a+2Bb+3D", m.mail_params
    assert m.rcpts[0][1]["ORCPT"] == "rfc822;o+2Bp@old.test", m.rcpts
    assert set(m.rcpts[0][1]["NOTIFY"].split(",")) == {"SUCCESS", "DELAY"}, m.rcpts
    time.sleep(0.5)
    assert not w.dsns("params"), "the next server was told to confirm; we did as well"
    w.submit("x@dsn.test", "no params")
    m = w.sink.find("no params")
    assert not {"RET", "ENVID"} & set(m.mail_params) and "NOTIFY" not in m.rcpts[0][1], m


def relayed(w):
    """To a server without DSN: SUCCESS is answered by us, as relayed; nothing of DSN goes to it."""
    w.sink[OTHERS["nodsn"]].keywords = [k for k in badserver.KEYWORDS if k != "DSN"]
    w.submit("x@nodsn.test", "confirm", options=["ENVID=e1"], rcpt_options=["NOTIFY=SUCCESS"])
    m = w.sink.find("confirm")
    assert not {"RET", "ENVID"} & set(m.mail_params) and not m.rcpts[0][1], m
    d = w.dsn("confirm")
    r = d.of("x@nodsn.test")
    assert r["action"] == "relayed" and r["status"].startswith("2."), r
    w.submit("u1@example.test", "confirm here", rcpt_options=["NOTIFY=SUCCESS"])
    assert w.dsn("confirm here").of("u1@example.test")["action"] == "delivered"


def never(w):
    """NOTIFY=NEVER: given up in silence. NOTIFY=SUCCESS too: a failure was not asked for."""
    w.sink[OTHERS["gone"]].replies = {"rcpt": "550 5.1.1 no"}
    ids = [w.submit(f"x{i}@gone.test", f"never {what}", rcpt_options=[f"NOTIFY={what}"]) for i, what in enumerate(("NEVER", "SUCCESS", "DELAY"))]
    for ident in ids:
        w.event(ident, "bounced")
        w.event(ident, "queue-done")
    assert not any(w.dsns(f"never {what}") for what in ("NEVER", "SUCCESS", "DELAY"))
    assert not any(w.count(i, "notified") for i in ids)


def null_sender(w):
    """Nobody is told of what had no sender: forwarded here, refused there."""
    w.cli("alias", "add", "away@example.test", "x@gone.test")
    w.sink[OTHERS["gone"]].replies = {"rcpt": "550 5.1.1 no"}
    before = len(w.sink.messages())
    ident = w.inbound("away@example.test", "from nobody", sender="")
    w.event(ident, "bounced")
    w.event(ident, "queue-done")
    assert not w.count(ident, "notified") and len(w.sink.messages()) == before
    assert not w.dsns("from nobody"), "a bounce about a message without a sender"


def suppressed_not(w):
    """A second mail to who was refused for good goes out again, or is refused with the reason; it is never silent."""
    w.sink[OTHERS["gone"]].replies = {"rcpt": "550 5.1.1 no such user"}
    for i in range(2):
        w.event(w.submit("dead@gone.test", f"dead {i}"), "bounced", rcpt="dead@gone.test")
        w.dsn(f"dead {i}")
    assert any("dead@gone.test" in x for x in w.cli("queue", "suppress", "list", "--json").stdout.splitlines())
    w.cli("queue", "suppress", "remove", "dead@gone.test")
    w.sink[OTHERS["gone"]].reset()
    w.event(w.submit("dead@gone.test", "alive"), "sent", rcpt="dead@gone.test")


def crowd(w):
    """A server that takes one connection at a time, and one that takes two messages a connection, get all of it."""
    w.sink[OTHERS["crowd"]].limit = 1
    w.sink[OTHERS["enough"]].per_connection = 2
    ids = []
    with w.smtp("submissions", 0) as s:
        for i in range(6):
            ids += [w.hand(s, f"x@{name}.test", f"{name} {i}", w.user(0)) for name in ("crowd", "enough")]
    for _ in range(12):
        if office.wait_for(lambda: all(w.count(i, "queue-done") for i in ids), 1, every=0.1):
            break
        w.forward(1500)
    for name in ("crowd", "enough"):
        subjects = sorted(m.subject for m in w.sink.messages(OTHERS[name]))
        assert subjects == [f"{name} {i}" for i in range(6)], subjects


def hours(w):
    """Nobody answers: told after 4 hours, once; given up after 5 days, with what was last known."""
    w.sink.down(OTHERS["down"])
    w.sink.down(OTHERS["down2"])
    start = w.moved
    ident = w.submit("x@down.test", "waiting")
    silent = w.submit("y@down2.test", "waiting silently", rcpt_options=["NOTIFY=FAILURE"])
    e = w.event(ident, "deferred")
    assert e["reason"] == "connect" and 300 <= int(e["next"]) <= 376, e
    waits = []
    while w.moved - start < 4 * 3600 - 5100:
        waits.append(int(w.retry(ident, 500, wait=0.5)["next"]))
    assert waits[0] < waits[-1] <= 5001 and len(waits) > 3, waits
    assert not w.dsns("waiting"), "told of a delay before 4 hours"
    for _ in range(3):
        w.retry(ident, 5001, wait=0.5)
    d = w.dsn("waiting")
    r = d.of("x@down.test")
    assert r["action"] == "delayed" and r["status"].startswith("4.") and "will-retry-until" in r, r
    w.event(ident, "notified")
    # a day on: still tried, not told again
    w.retry(ident, 86400)
    time.sleep(0.3)
    assert len(w.dsns("waiting")) == 1 and not w.dsns("waiting silently")
    w.forward(5 * 86400)
    w.event(ident, "bounced", rcpt="x@down.test", reason="expired")
    r = w.dsn("waiting", number=2).of("x@down.test")
    assert r["action"] == "failed" and re.match(r"[45]\.4\.\d", r["status"]), r
    w.event(silent, "bounced")
    assert w.dsn("waiting silently").of("y@down2.test")["action"] == "failed"
    w.sink.up(OTHERS["down"])
    w.forward(7200)
    w.event(w.submit("x@down.test", "back again"), "sent")


STEPS = [table, hostile_pipelining, greylist_let_in, lost_reply, partial, notification, handed_on, relayed, never, null_sender, suppressed_not,
         crowd, hours]

if __name__ == "__main__":
    every = [address_of(i) for i in range(len(ROWS) + len(LOST))] + list(OTHERS.values())
    sys.exit(wayout.main(STEPS, zones=zones, addresses=every, users=2))
