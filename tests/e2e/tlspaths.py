#!/usr/bin/env python3
"""TLS on the way out: opportunistic, required by a rule, by DANE, by MTA-STS. Nothing is downgraded that somebody required, and
the log says of each connection what its certificate was worth."""
import sys

import badserver
import certs
import policies
import wayout

POLICY_HOST = "127.0.3.250"
DAY = 86400

# name, what the server is (see SERVERS), what is demanded of it, outcome, tls in the log
ROWS = [
    ("plain", "plain", "", "sent", ""),
    ("opp-good", "good", "", "sent", "verified="),
    ("opp-expired", "expired", "", "sent", "verified=no"),
    ("opp-name", "name", "", "sent", "verified=no"),
    ("opp-unknown", "unknown", "", "sent", "verified=no"),
    ("opp-454", "refuses", "", "sent", ""),
    ("opp-inject", "injects", "", "sent|deferred", None),
    ("rule-good", "good", "rule", "sent", "verified=pkix"),
    ("rule-plain", "plain", "rule", "tls", None),
    ("rule-454", "refuses", "rule", "tls", None),
    ("rule-expired", "expired", "rule", "tls", None),
    ("rule-name", "name", "rule", "tls", None),
    ("rule-unknown", "unknown", "rule", "tls", None),
    ("rule-garbage", "garbage", "rule", "tls", None),
    ("rule-inject", "injects", "rule", "sent|deferred", None),
    ("dane-ee", "unknown", "3 1 1", "sent", "verified=dane"),
    ("dane-ee-cert", "expired", "3 0 1", "sent", "verified=dane"),  # RFC 7672 3.1.1: neither name nor date count
    ("dane-ta", "good", "2 1 1", "sent", "verified=dane"),
    ("dane-ta-name", "name", "2 1 1", "tls", None),
    ("dane-bad", "good", "3 1 1 wrong", "tls", None),
    ("dane-plain", "plain", "3 1 1", "tls", None),
    ("dane-454", "refuses", "3 1 1", "tls", None),
    ("dane-garbage", "garbage", "3 1 1", "tls", None),
    ("dane-unusable", "unknown", "unusable", "sent", "verified=no"),
    ("dane-unusable-plain", "plain", "unusable", "tls", None),
    ("dane-insecure", "good", "3 1 1 wrong", "sent", "verified="),  # the zone is not signed: as if it were not there
    ("dane-bogus", "good", "3 1 1", "dns", None),
    ("sts-good", "good", "enforce", "sent", "verified=pkix"),
    ("sts-name", "name", "enforce", "tls", None),
    ("sts-plain", "plain", "enforce", "tls", None),
    ("sts-expired", "expired", "enforce", "tls", None),
    ("sts-mx", "good", "enforce other", "tls", None),
    ("sts-wildcard", "good", "enforce *", "sent", "verified=pkix"),
    ("sts-testing", "name", "testing", "sent", "verified=no"),
    ("sts-none", "plain", "none", "sent", ""),
    ("sts-404", "plain", "404", "sent", ""),
    ("sts-broken", "plain", "broken", "sent", ""),
    ("sts-huge", "plain", "huge", "sent", ""),
    ("sts-redirect", "plain", "redirect", "sent", ""),
    ("sts-down", "plain", "down", "sent", ""),
    ("sts-badcert", "plain", "badcert", "sent", ""),
    ("sts-cached", "good", "enforce", "sent", "verified=pkix"),
]
# the handshake fails and nobody required it: in clear, at once or with the next try
FALLBACK = [("fall-garbage", "garbage"), ("fall-close", "closes"), ("fall-silent", "silent"), ("fall-old", "old")]
NAMES = [r[0] for r in ROWS] + [r[0] for r in FALLBACK]
SIGNED = {f"{n}.test" for n in NAMES if n.startswith("dane-") and n not in ("dane-insecure", "dane-bogus")}
BOGUS = {"dane-bogus.test"}


def address_of(name):
    return f"127.0.3.{NAMES.index(name) + 1}"


def prepare(w):
    """Certificates and the policies' server, which the zones and settings name."""
    mxs = [f"mx1.{n}.test" for n in NAMES]
    w.unknown = certs.Authority(w.net + "/unknown", "Another CA")
    w.leaves = {"good": w.ca.leaf(*mxs), "expired": w.ca.leaf(*mxs, expired=True), "name": w.ca.leaf("mx.elsewhere.test"),
                "unknown": w.unknown.leaf(*mxs)}
    for k in ("refuses", "injects", "garbage", "closes", "silent", "old"):
        w.leaves[k] = w.leaves["good"]
    hosts = [f"mta-sts.{r[0]}.test" for r in ROWS if r[0].startswith("sts-") and r[2] != "badcert"]
    w.policies = policies.Server(POLICY_HOST, w.ca.leaf(*hosts))
    for name, _, wanted, *_ in ROWS:
        if name.startswith("sts-"):
            mode, _, which = wanted.partition(" ")
            mx = {"other": "mx.other.test", "*": f"*.{name}.test"}.get(which, f"mx1.{name}.test")
            body = policies.policy(mode, [mx], DAY) if mode in ("enforce", "testing", "none") else BODIES.get(mode)
            if body:
                w.policies.bodies[f"mta-sts.{name}.test"] = body


def redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "https://mta-sts.sts-good.test" + policies.PATH)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


BODIES = {"broken": "version: STSv2\r\nmode: enforce\r\n", "huge": "version: STSv1\r\n" + "x: y\r\n" * 200000, "redirect": redirect,
          "badcert": policies.policy("enforce", ["mx.other.test"], DAY)}


def tlsa(w, kind, wanted):
    if wanted == "unusable":
        return "3 1 9 abcdef\n_{p}._tcp.mx1 TLSA 0 0 1 " + "00" * 32
    usage, selector, matching = map(int, wanted.split()[:3])
    if "wrong" in wanted:
        return f"{usage} {selector} {matching} " + "ab" * 32
    leaf = w.leaves.get(kind, w.leaves["good"])
    return w.ca.tlsa(usage, selector, matching) if usage == 2 else leaf.tlsa(usage, selector, matching)


def zones(w):
    prepare(w)
    out = {}
    for name, kind, wanted, *_ in ROWS:
        more = ""
        if name.startswith("dane-"):
            more = (f"_{{p}}._tcp.mx1 TLSA {tlsa(w, kind, wanted)}\n").replace("{p}", str(w.sink.port))
        if name.startswith("sts-"):
            more = f'_mta-sts TXT "v=STSv1; id=1"\nmta-sts A {POLICY_HOST if wanted != "down" else "127.0.3.251"}\n'
        out[f"{name}.test"] = w.mx(address_of(name), more=more)
    return {**out, **{f"{n}.test": w.mx(address_of(n)) for n, _ in FALLBACK}}


def settings(w):
    rules = ",\n".join(f'{{ to = "{r[0]}.test"; tls = "required"; }}' for r in ROWS if r[2] == "rule")
    return f"routes = ( {rules} );\n"


def behave(w):
    for name, kind in [(r[0], r[1]) for r in ROWS] + FALLBACK:
        how = w.sink[address_of(name)]
        how.tls = w.leaves.get(kind)
        if kind == "refuses":
            how.replies["starttls"] = "454 4.7.0 TLS not available"
        elif kind == "injects":
            how.replies["starttls"] = b"220 ok\r\n250 evil\r\n250-SIZE 1\r\n250 evil\r\n"
        elif kind in HANDSHAKES:
            how.replies["handshake"] = HANDSHAKES[kind]


def answered(octets):
    """To the client's first octets, as a server would: not before."""
    return lambda session, _: session.sock.recv(1 << 16) and octets


HANDSHAKES = {"garbage": answered(b"\x16\x03\x01\xff\xffgarbage" * 100), "closes": badserver.CLOSE, "silent": badserver.SILENT, "old": answered(b"220 in clear\r\n")}


def check_row(w, row, ident):
    name, kind, _, wanted, tls = row
    to = f"x@{name}.test"
    e = w.event(ident, "sent|deferred|bounced", rcpt=to, seconds=40)
    got = [m for m in w.sink.messages() if m.subject == name]
    outcome = "sent" if e.name == "sent" else e.get("reason") if e.name == "deferred" else e.name
    if outcome not in wanted.split("|") and e.name not in wanted.split("|"):
        return f"{name}: {e.name}, not {wanted}: {dict(e)}"
    if len(got) != (e.name == "sent"):
        return f"{name}: {e.name}, and the server has {len(got)} of it"
    if e.name == "sent" and tls is not None:
        if tls == "" and (e["tls"] or got[0].tls) or tls not in e["tls"]:
            return f"{name}: the log says tls={e['tls']!r}, it should have {tls!r}"
        if tls and not (got[0].tls and got[0].tls in e["tls"]):
            return f"{name}: the server saw {got[0].tls}, the log says {e['tls']!r}"
    if e.name == "sent" and name.startswith(("dane-", "sts-", "rule-")) and got[0].tls and got[0].sni != f"mx1.{name}.test":
        return f"{name}: the server name in the handshake was {got[0].sni}"
    return None


def table(w):
    behave(w)
    ids = {}
    with w.smtp("submissions", 0) as s:
        for name, *_ in ROWS:
            ids[name] = w.hand(s, f"x@{name}.test", name, w.user(0))
    w.rows = ids
    wrong = [x for x in (check_row(w, row, ids[row[0]]) for row in ROWS) if x]
    assert not wrong, "\n".join(wrong)
    for name, *_, in ROWS:
        if name.startswith(("rule-", "dane-")) and name not in ("dane-insecure", "rule-good"):
            heard = [c for c in w.sink.commands(address_of(name)) if c.upper().startswith("MAIL")]
            sent = [m for m in w.sink.messages() if m.subject == name]
            assert len(heard) == len(sent), f"{name}: MAIL was said without the TLS that is required"


def in_clear_at_last(w):
    """A server that offers TLS and cannot do it gets its mail, where nobody required TLS."""
    ids = {n: w.submit(f"x@{n}.test", n) for n, _ in FALLBACK}
    for n, ident in ids.items():
        if w.event(ident, "sent|deferred", rcpt=f"x@{n}.test").name == "deferred":
            w.retry(ident, 450, "sent", rcpt=f"x@{n}.test")
        assert w.event(ident, "sent")["tls"] == "" and w.sink.find(n).tls is None


def repaired(w):
    """What was deferred for TLS goes as soon as the server has it."""
    w.sink[address_of("dane-plain")].tls = w.leaves["good"]
    w.sink[address_of("rule-expired")].tls = w.leaves["good"]
    w.forward(450)
    for name, worth in (("dane-plain", "dane"), ("rule-expired", "pkix")):
        e = w.event(w.rows[name], "sent", rcpt=f"x@{name}.test")
        assert f"verified={worth}" in e["tls"], e


def policy_is_kept(w):
    """The policy's server is gone and the certificate is wrong: what was promised for a day holds for a day, a restart
    and a lost TXT record notwithstanding."""
    w.policies.down()
    w.sink[address_of("sts-cached")].tls = w.leaves["name"]
    w.sink.hang_up()
    w.dns.update({"sts-cached.test": w.mx(address_of("sts-cached"))})
    ident = w.submit("x@sts-cached.test", "cached 1")
    e = w.event(ident, "deferred|sent|bounced")
    assert e.get("reason") == "tls", (e.name, e)
    w.restart()
    w.moved = 0  # a new process, a new clock
    ident = w.submit("x@sts-cached.test", "cached 2")
    e = w.event(ident, "deferred|sent|bounced")
    assert e.get("reason") == "tls", (e.name, e)
    assert not [m for m in w.sink.messages(address_of("sts-cached")) if m.subject.startswith("cached")]
    w.forward(DAY + 60)
    e = w.event(ident, "sent")
    assert "verified=no" in e["tls"], e


def requiretls(w):
    """RFC 8689: kept for the queue, said to a server that offers it inside verified TLS, refused where it cannot be had."""
    w.policies.up()
    how = w.sink[address_of("rule-good")]
    how.keywords = badserver.KEYWORDS + ["REQUIRETLS"]
    with w.smtp("submissions", 0) as s:
        if "requiretls" not in s.esmtp_features:
            raise AssertionError(f"REQUIRETLS is not announced: {s.esmtp_features}")
    ident = w.submit("x@dane-ee.test", "require 1", options=["REQUIRETLS"])
    e = w.event(ident, "bounced|sent|deferred")
    assert e.name == "bounced", e  # dane-ee does not announce it
    assert w.dsn("require 1").of("x@dane-ee.test")["status"] in ("5.7.30", "5.7.10"), w.dsn("require 1").recipients
    w.sink[address_of("dane-ee")].keywords = badserver.KEYWORDS + ["REQUIRETLS"]
    ident = w.submit("x@dane-ee.test", "require 2", options=["REQUIRETLS"])
    w.event(ident, "sent")
    assert "REQUIRETLS" in w.sink.find("require 2").mail_params
    ident = w.submit("x@plain.test", "require 3", options=["REQUIRETLS"])
    w.event(ident, "bounced|deferred")
    assert not [m for m in w.sink.messages() if m.subject == "require 3"]


STEPS = [table, in_clear_at_last, repaired, policy_is_kept, requiretls]

if __name__ == "__main__":
    sys.exit(wayout.main(STEPS, zones=zones, settings=settings, addresses=[address_of(n) for n in NAMES], signed=SIGNED, bogus=BOGUS))
