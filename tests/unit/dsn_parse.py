#!/usr/bin/env python3
"""Notifications that test_dsn writes, read by Python's email package: structure, fields, words."""
import email
import email.policy
import os
import subprocess
import sys
import tempfile

WORDS = {("failed", "en"): "could not be delivered", ("failed", "de"): "nicht zugestellt werden",
         ("delayed", "en"): "not reached", ("delayed", "de"): "noch nicht erreicht",
         ("delivered", "en"): "was delivered", ("delivered", "de"): "wurde zugestellt",
         ("relayed", "en"): "no confirmations", ("relayed", "de"): "keine Bestätigungen",
         ("expanded", "en"): "members of this address", ("expanded", "de"): "Mitglieder dieser Adresse"}


def check(path, name):
    kind, language, form, count, _ = name.split("-")
    with open(path, "rb") as f:
        raw = f.read()
    assert b"\n" not in raw.replace(b"\r\n", b""), "a bare LF"
    assert all(len(line) <= 998 for line in raw.split(b"\r\n")), "a line above 998"
    m = email.message_from_bytes(raw, policy=email.policy.default)
    assert not m.defects, m.defects
    assert m.get_content_type() == "multipart/report", m.get_content_type()
    status = "global-delivery-status" if form == "global" else "delivery-status"
    assert m.get_param("report-type") == status
    assert m["From"].addresses[0].addr_spec == "postmaster@mail.example.net"
    assert m["To"].addresses[0].addr_spec == "anna@example.net"
    assert m["Auto-Submitted"] == "auto-replied"
    assert "Grüße and more" in m["Subject"], m["Subject"]
    assert m["Date"].datetime.timestamp() == 1795492100
    parts = m.get_payload()
    assert len(parts) == 3, len(parts)
    words = " ".join(parts[0].get_content().split())
    if count == "1":
        assert WORDS[kind, language] in words, words
    else:
        assert ": 10" in words, words  # 60 recipients, 50 told about
    assert "Grüße and more" in words and "mail.example.net (0abcdefghjkmp)" in words, words
    assert parts[1].get_content_type() == "message/" + status
    fields = machine(raw, parts[1], form)
    assert fields[0]["reporting-mta"] == "dns; mail.example.net" and fields[0]["original-envelope-id"] == "QQ314159"
    assert len(fields) == 1 + int(count), len(fields)
    for r in fields[1:]:
        want = "utf-8; jörg@example.org" if form == "global" else "rfc822; bob@example.com"
        assert r["final-recipient"] == want, r
        assert r["action"] == kind, r
        assert r["status"].split(".")[0] in {"failed": "5", "delayed": "4"}.get(kind, "2"), r
    whole = kind == "failed" and b"The secret body" in raw
    want = {("ascii", False): "text/rfc822-headers", ("ascii", True): "message/rfc822",
            ("global", False): "message/global-headers", ("global", True): "message/global"}[form, whole]
    assert parts[2].get_content_type() == want, parts[2].get_content_type()
    assert b"Message-ID: <orig@example.net>" in raw


def machine(raw, part, form):
    """The groups of fields; from the octets, for Python reads UTF-8 in them only in its own way."""
    boundary = email.message_from_bytes(raw).get_boundary().encode()
    body = raw.split(b"--" + boundary + b"\r\n")[2].split(b"\r\n\r\n", 1)[1]
    groups = body.decode("utf-8" if form == "global" else "ascii").rstrip("\r\n").split("\r\n\r\n")
    if form == "ascii":
        assert len(part.get_payload()) == len(groups)  # Python finds the same number of groups
    return [{k.lower(): " ".join(str(v).split()) for k, v in email.message_from_string(g).items()} for g in groups]


def main():
    program = os.path.join(os.environ.get("POSTAMT_BUILD", "."), "tests/unit/test_dsn")
    if not os.path.exists(program):
        return 77
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([program, d], check=True, timeout=60)
        names = sorted(os.listdir(d))
        assert len(names) == 40, len(names)
        for name in names:
            try:
                check(os.path.join(d, name), name)
            except AssertionError as e:
                print(f"{name}: {e!r}")
                raise
    print(f"{len(names)} notifications are fine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
