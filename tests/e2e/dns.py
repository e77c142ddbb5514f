#!/usr/bin/env python3
"""resolverd behind its fence: what it answers for records of each type, signed, unsigned and bogus ones; for names that are
not there; for answers made to hurt; when name servers are down, and when too much is asked. With Landlock of ABI 2 too."""
import ipaddress
import json
import os
import struct
import sys
import tempfile
import time

import instance
import role
import zones

A, CNAME, PTR, MX, TXT, AAAA, TLSA = 1, 5, 12, 15, 16, 28, 52
STATUS = ["ok", "nodata", "nxdomain", "failed", "bogus", "busy", "bad-name"]
ANSWER_SECONDS = 60  # DNS_SECONDS

ZONES = {
    "example.test": "\n".join([
        "@ MX 20 mx2", "@ MX 10 MX1", "mx1 A 192.0.2.1", "mx1 AAAA 2001:db8::1", "mx2 A 192.0.2.2", "null MX 0 .",
        'txt TXT "v=STSv1; " "id=1;"', "c1 CNAME c2", "c2 CNAME host.signed.test.", "gone CNAME nothing",
        "loop1 CNAME loop2", "loop2 CNAME loop1", "odd MX 10 a\\046b", "odd MX 20 mx1", "odder MX 10 a\\000b", "odder MX 20 \\;x",
        "huge TXT " + zones.txt("x" * 63000),
        "three TXT " + zones.txt("y" * 30000), "three TXT " + zones.txt("z" * 30000), "three TXT short",
        *(f"many MX {1000 - i} m{i}" for i in range(1000)), *(f"addresses A 10.0.{i // 250}.{i % 250 + 1}" for i in range(200))]),
    "signed.test": "\n".join([
        "@ MX 10 host", "host A 192.0.2.3", "_25._tcp.host TLSA 3 1 1 " + "ab" * 32, "_25._tcp.host TLSA 2 0 2 " + "cd" * 64,
        "out CNAME mx1.example.test."]),
    "bogus.test": "@ MX 10 host\nhost A 192.0.2.4\n",
    "9.9.9.in-addr.arpa": "9 PTR Host.Signed.test.\n",
}


class Asker:
    def __init__(self, r):
        self.r, self.number = r, 0

    def send(self, name, kind):
        self.number += 1
        self.r.peer["queued"].send("DNS_ASK", self.number, name, kind)
        return self.number

    def read(self):
        m = self.r.peer["queued"].recv(ANSWER_SECONDS)
        assert m and m.type == "DNS_ANSWER", f"no answer: {self.r.died_by()} {self.r.logged()}"
        a = {"question": m.u64(), "status": STATUS[m.u64()], "secure": bool(m.u64()), "ttl": m.u64(), "canonical": m.text(),
             "why": m.text()}
        a["records"] = [record(m.octets()) for _ in range(m.u64())]
        assert not m.rest
        return a

    def ask(self, name, kind):
        number = self.send(name, kind)
        a = self.read()
        assert a["question"] == number, (a, number)
        return a


def record(octets):
    """As dns_record_encode writes it."""
    fields = []
    for fixed in (0, 2, 0, 0, 3, 0):
        n = fixed or struct.unpack(">H", octets[:2])[0]
        at = 0 if fixed else 2
        fields.append(octets[at:at + n])
        octets = octets[at + n:]
    assert not octets
    ip, preference, name, text, tlsa, data = fields
    return {"ip": str(ipaddress.ip_address(ip)) if ip else "", "preference": struct.unpack(">H", preference)[0],
            "name": name.decode(), "text": text.decode(), "tlsa": tuple(tlsa), "data": data.hex()}


def check(found, status, secure=None, canonical=None, **values):
    """values: field=[what each record has]"""
    assert found["status"] == status, found
    if secure is not None:
        assert found["secure"] == secure, found
    if canonical:
        assert found["canonical"] == canonical, found
    for field, wanted in values.items():
        got = [r[field] for r in found["records"]]
        assert got == wanted, (field, got, wanted)
    if status != "ok":
        assert not found["records"]
    if status in ("failed", "bogus"):
        assert found["why"] and not found["secure"], found


def check_types(q):
    check(q.ask("mx1.example.test", A), "ok", False, "mx1.example.test", ip=["192.0.2.1"])
    check(q.ask("MX1.Example.test.", AAAA), "ok", False, "mx1.example.test", ip=["2001:db8::1"])
    a = q.ask("example.test", MX)
    check(a, "ok", False, name=["mx1.example.test", "mx2.example.test"], preference=[10, 20])
    assert a["ttl"] <= 2
    check(q.ask("null.example.test", MX), "ok", False, name=[""], preference=[0])
    check(q.ask("txt.example.test", TXT), "ok", False, text=["v=STSv1; id=1;"])
    check(q.ask("c1.example.test", CNAME), "ok", False, name=["c2.example.test"])
    check(q.ask("9.9.9.9.in-addr.arpa", PTR), "ok", False, name=["host.signed.test"])
    a = q.ask("_25._tcp.host.signed.test", TLSA)
    check(a, "ok", True)
    assert sorted((r["tlsa"], r["data"]) for r in a["records"]) == [((2, 0, 2), "cd" * 64), ((3, 1, 1), "ab" * 32)], a


def check_names(q):
    check(q.ask("c1.example.test", A), "ok", False, "host.signed.test", ip=["192.0.2.3"])
    check(q.ask("out.signed.test", A), "ok", False, "mx1.example.test", ip=["192.0.2.1"])  # half of the way is unsigned
    check(q.ask("host.signed.test", A), "ok", True, ip=["192.0.2.3"])
    check(q.ask("host.signed.test", AAAA), "nodata", True)
    check(q.ask("no.signed.test", A), "nxdomain", True)
    check(q.ask("no-such-domain", MX), "nxdomain", True)
    check(q.ask("mx1.example.test", MX), "nodata", False)
    check(q.ask("no.example.test", A), "nxdomain", False)
    check(q.ask("gone.example.test", A), "nxdomain", False)
    a = q.ask("bogus.test", MX)
    check(a, "bogus")
    assert "expired" in a["why"], a
    for name in ("", ".", "a..b", "a b.test", "a" * 64 + ".test", "x." * 127 + "test", "a\\.b.test", "\u00e4.test", "a\0b.test"):
        check(q.ask(name, A), "bad-name")


def check_hostile(q):
    check(q.ask("loop1.example.test", A), "failed")
    check(q.ask("odd.example.test", MX), "ok", name=["mx1.example.test"])
    check(q.ask("odder.example.test", MX), "failed")  # not one that can be used, but there are some
    a = q.ask("many.example.test", MX)
    check(a, "ok", preference=list(range(1, 21)))
    assert len(q.ask("addresses.example.test", A)["records"]) == 64
    check(q.ask("huge.example.test", TXT), "ok", text=["x" * 63000])
    a = q.ask("three.example.test", TXT)  # 60,000 octets fit, whatever their order
    check(a, "ok")
    assert sorted(len(r["text"]) for r in a["records"]) == [5, 30000, 30000], [len(r["text"]) for r in a["records"]]


def check_pending(q, dns):
    """Nobody answers: 64 look-ups wait, a question asked twice is one; the rest is told to come again."""
    dns.stop()
    started = time.monotonic()
    numbers = [q.send(f"host{i}.example.test", A) for i in range(64)]
    twice = q.send("host0.example.test", A)
    check(q.ask("host64.example.test", A), "busy")
    assert '"pending":64' in q.r.status(), q.r.status()
    answers = {}
    while len(answers) < 65:
        a = q.read()
        check(a, "failed")
        answers[a["question"]] = a
    assert set(answers) == {*numbers, twice}
    assert time.monotonic() - started < ANSWER_SECONDS
    assert '"pending":0' in q.r.status(), q.r.status()
    dns.start()
    deadline = time.monotonic() + 30  # what failed is remembered for 5 s
    while q.ask("mx1.example.test", A)["status"] != "ok":
        assert time.monotonic() < deadline, "it does not come back"
        time.sleep(0.5)


def check_again(r, config, dns):
    """A new queued; a malformed message; settings that it can take only by starting anew, which is postamtd's work."""
    q = Asker(r)
    q.send("host.signed.test", A)
    r.peer["queued"].ours.close()
    r.connect("queued")
    check(q.ask("host.signed.test", A), "ok", True)
    r.peer["queued"].send("DNS_ASK", 1, "host.signed.test", 99)
    assert r.peer["queued"].recv() is None
    assert "ipc-bad" in r.logged(), r.logged()
    r.connect("queued")
    r.configure(config + "\n# the same\n")
    check(q.ask("host.signed.test", A), "ok", True)
    r.configure(config.replace(dns.address, "192.0.2.1"))
    assert r.process.wait(10) == 0


def check_anchors(d, config, dns):
    """Without a trust anchor, or with a file that is none, names are found all the same; nothing is secure, and the log says
    so."""
    with open(os.path.join(d, "junk"), "w") as f:
        f.write("<html>404</html>\n")
    os.chmod(f.name, 0o644)
    for path in (os.path.join(d, "nowhere"), f.name):
        with role.Role("lookup/resolverd", "resolverd", config.replace(dns.anchor_file, path), ["queued"], d) as r:
            q = Asker(r)
            check(q.ask("host.signed.test", A), "ok", False, ip=["192.0.2.3"])
            check(q.ask("host.bogus.test", A), "ok", False, ip=["192.0.2.4"])
            assert '"dnssec":false' in r.status()
            assert "not validated" in r.logged(), r.logged()
    with open(os.path.join(d, "other"), "w") as f:
        f.write("; not this root's\n\n.\t172800\tIN\tDS 4711 13 2 " + "ab" * 32 + " ; made up\n")
    os.chmod(f.name, 0o644)
    with role.Role("lookup/resolverd", "resolverd", config.replace(dns.anchor_file, f.name), ["queued"], d) as r:
        check(Asker(r).ask("host.signed.test", A), "bogus")


def check_reload(d, dns):
    """In a whole server: what a reload changes in dns.* starts resolverd anew, and nobody else."""
    def roles():
        return {x["role"]: x for x in json.loads(instance.cli(d, "status", "--json").stdout)["roles"] if x["ready"]}

    instance.start(d, users=0, extra=dns.settings)
    try:
        before = roles()
        with open(os.path.join(d, "postamt.conf")) as f:
            text = f.read()
        with open(os.path.join(d, "postamt.conf"), "w") as f:
            f.write(text.replace(dns.anchor_file, os.path.join(d, "nowhere")))
        instance.reload(d)
        deadline = time.monotonic() + 15
        while True:
            after = roles()
            if "resolverd" in after and after["resolverd"]["detail"].get("dnssec") is False:
                break
            assert time.monotonic() < deadline, after
            time.sleep(0.05)
        assert before["resolverd"]["detail"]["dnssec"] is True, before
        assert {k for k in before if before[k]["pid"] != after[k]["pid"]} == {"resolverd"}, after
    finally:
        instance.stop(d)


def main():
    why = zones.missing()
    if why:
        print(f"skipped: {why}")
        return 77
    with tempfile.TemporaryDirectory(prefix="postamt-dns-") as d:
        os.chmod(d, 0o755)
        with zones.Server(os.path.join(d, "zones"), ZONES, signed={"signed.test"}, bogus={"bogus.test"}) as dns:
            ports = {x[0]: 1024 + i for i, x in enumerate(instance.LISTENERS)}  # nobody listens
            config = instance.config_text(d, ports, "sha512crypt", dns.settings)
            for abi in (None, "2"):
                if abi:
                    os.environ["POSTAMT_LANDLOCK_ABI"] = abi
                with role.Role("lookup/resolverd", "resolverd", config, ["queued"], d) as r:
                    q = Asker(r)
                    check_types(q)
                    check_names(q)
                    check_hostile(q)
                    if not abi:
                        check_pending(q, dns)
                        check_again(r, config, dns)
                    assert "refused_call" not in r.logged(), r.logged()
            check_anchors(d, config, dns)
            os.environ.pop("POSTAMT_LANDLOCK_ABI")
            check_reload(os.path.join(d, "instance"), dns)
    print("resolverd: all types, secure, insecure and bogus; hostile answers; servers down; behind its fence")
    return 0


if __name__ == "__main__":
    sys.exit(main())
