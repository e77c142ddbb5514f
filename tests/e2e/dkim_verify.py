#!/usr/bin/env python3
"""Our signatures verified by others: python3-dkim and, where it is installed, rspamd. The keys are made by the postamt
command, the records come from `postamt domain dns`.

dkim_verify.py [MESSAGES]"""
import email.utils
import glob
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import instance

try:
    import dkim
    import nacl.signing  # noqa: F401  without it python3-dkim takes no Ed25519
except ImportError as missing:
    # Debian's modules are for Debian's python; another may come first in PATH
    if os.path.exists("/usr/bin/python3") and "POSTAMT_PYTHON" not in os.environ:
        os.environ["POSTAMT_PYTHON"] = "system"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print(f"skipped: {missing}; apt-get install python3-dkim python3-nacl")
    sys.exit(77)

SIGN = os.path.join(instance.BUILD, "tests/unit/dkim_sign")
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print(f"FAIL {what}", flush=True)


# --- messages ---

WORDS = ["Angebot", "Rechnung", "grüße", "x" * 60, "=?utf-8?q?=C3=A4?=", ";", "a:b", "=", "\\", '"q"', "日本", "."]
BODIES = [b"", b"\r\n", b"\r\n\r\n\r\n", b" \t\r\n", b"a", b"a\r\n", b"a \t \r\n\r\n\r\n", b"\r\n\r\na\r\n", b"\t a\r\n",
          b".\r\n..\r\n", b"x" * 5000 + b"\r\n", b"x  " * 3000 + b"\r\n", b"\r\n" * 3000 + b"end\r\n",
          b"gr\xfc\xdf  latin1 \xff\r\n", b"--b\r\n\r\n--b--\r\n \r\n", b"a\r\n \r\n\t\r\n"]


def folded(r, words):
    """The words with blanks, tabs and folds between them."""
    return "".join(r.choice([" ", "  ", "\t", "\r\n ", "\r\n\t ", " \r\n  ", "\r\n "]) + w for w in words)


def header(r, name, value_words):
    lead = r.choice(["", " ", "  ", "\t", "\r\n "])
    tail = r.choice(["", "", " ", " \t"])
    return f"{name}:{lead}{folded(r, value_words).lstrip() if lead else folded(r, value_words)}{tail}\r\n"


def body(r):
    if r.random() < 0.3:
        return r.choice(BODIES)
    lines = []
    for _ in range(r.randrange(60)):
        n = r.choice([0, 0, 1, 5, 30, 76, 400, 998])
        alphabet = r.choice([b"abc  \t", b"\x20\t", bytes(range(0x80, 0x100)), b"abcdef=+/", b"a. "])
        lines.append(bytes(r.choice(alphabet) for _ in range(n)) + b"\r\n")
    return b"".join(lines) + r.choice([b"", b"", b"\r\n", b" \r\n\r\n"])


def message(r, i):
    any_case = lambda name: r.choice([name, name.lower(), name.upper()])
    fields = [header(r, any_case("From"), ["<anna@up.test>"]),
              header(r, any_case("Date"), [email.utils.formatdate(1795478400 + i)])]
    for name, chance in (("To", 0.9), ("Subject", 0.9), ("Cc", 0.3), ("Message-ID", 0.8), ("In-Reply-To", 0.3),
                         ("References", 0.3), ("Reply-To", 0.2), ("Sender", 0.2), ("MIME-Version", 0.6),
                         ("Content-Type", 0.5), ("Content-Transfer-Encoding", 0.4), ("List-Id", 0.2),
                         ("List-Unsubscribe", 0.2), ("List-Unsubscribe-Post", 0.2), ("X-Other", 0.4), ("Received", 0.4)):
        if r.random() < chance:
            fields.append(header(r, any_case(name), r.sample(WORDS, r.randrange(1, 8))))
    if r.random() < 0.2:
        fields.append(header(r, "To", ["twice@example.net"]))
    r.shuffle(fields)
    return "".join(fields).encode() + b"\r\n" + body(r)


def sign(domain, keys, texts, r):
    args = [x for key in keys for x in key]
    asked = b"".join(b"%d %d\n%s" % (len(t), r.choice([1, 2, 3, 7, 64, 1000, 65536]), t) for t in texts)
    out = subprocess.run([SIGN, domain, *args], input=asked, stdout=subprocess.PIPE, check=True, timeout=120).stdout
    signed = []
    for t in texts:
        size, out = out.split(b"\n", 1)
        signed.append(out[:int(size)] + t)
        out = out[int(size):]
    return signed


# --- keys and records ---

def setup(d):
    """(domain, [(selector, file)], {name: TXT}) of two domains of a running instance: ASCII and IDN."""
    sets = []
    for domain, folder in (("up.test", "up.test"), ("grüße.test", "xn--*.test")):
        instance.cli(d, "domain", "add", domain)
        instance.cli(d, "domain", "dkim", domain, "--ed25519")
        rows = [json.loads(x) for x in instance.cli(d, "domain", "dns", domain, "--json").stdout.splitlines()]
        records = {x["name"] + ".": x["value"] for x in rows if "_domainkey" in x["name"]}
        files = sorted(glob.glob(os.path.join(d, "auth/dkim", folder, "*.pem")))
        keys = [(os.path.basename(x)[:-4], x) for x in reversed(files)]
        check(len(keys) == 2 and len(records) == 2, f"{domain}: keys {keys}, records {list(records)}")
        sets.append((domain, keys, records))
    return sets


def by_python(signed, n, records, what):
    for i in range(n):
        try:
            good = dkim.DKIM(signed).verify(idx=i, dnsfunc=lambda name, timeout=5: records.get(name.decode(), "").encode())
        except dkim.DKIMException as e:
            good = repr(e)
        check(good is True, f"{what}, signature {i}: {good}: {signed[:900]!r}")


def changed(signed, records):
    """A signature that covers nothing would pass all of the above."""
    for what, text in (("body", signed + b"more\r\n"), ("subject", b"Subject: other\r\n" + signed),
                       ("sender", b"From: eve@up.test\r\n" + signed),
                       ("date", signed.replace(b"2026 ", b"2027 "))):
        try:
            good = dkim.DKIM(text).verify(dnsfunc=lambda name, timeout=5: records.get(name.decode(), "").encode())
        except dkim.DKIMException:
            good = False
        check(text != signed and not good, f"a changed {what} is still signed")


# --- rspamd ---

def serve_dns(sock, records):
    """TXT of our records, nothing for the rest, until the socket is closed."""
    while True:
        try:
            q, peer = sock.recvfrom(4096)
        except OSError:
            return
        labels, at = [], 12
        while q[at]:
            labels.append(q[at + 1:at + 1 + q[at]].decode("ascii", "replace"))
            at += 1 + q[at]
        question, kind = q[12:at + 5], struct.unpack("!H", q[at + 1:at + 3])[0]
        text = records.get(".".join(labels).lower() + ".", "").encode() if kind == 16 else b""
        answer = b""
        if text:
            data = b"".join(bytes([len(text[i:i + 255])]) + text[i:i + 255] for i in range(0, len(text), 255))
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(data)) + data
        sock.sendto(q[:2] + struct.pack("!HHHHH", 0x8180 | (0 if text else 3), 1, 1 if text else 0, 0, 0) + question + answer,
                    peer)


def rspamd_config(d, dns, port):
    return f"""
options {{ url_tld = "{d}/tld"; pidfile = "{d}/pid"; tempdir = "{d}"; filters = "dkim"; dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; }}
  local_addrs = ["192.0.2.0/24"]; control_socket = "{d}/control mode=0600"; rrd = false; }}
logging {{ type = "file"; filename = "{d}/log"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
dkim {{ check_local = true; check_authed = true; }}

"""


def rspamd_can(text):
    """Where rspamd 3.4 is alone with its opinion: a signed field that is there twice, a body of blanks only, blanks in
    lines longer than SMTP has. RFC 6376 3.4.4 and 5.4.2, our unit tests and python3-dkim say otherwise."""
    head, body = text.split(b"\r\n\r\n", 1)
    return (len(re.findall(rb"(?mi)^to:", head)) < 2 and (body.strip() or not body.strip(b"\r\n"))
            and all(len(x) <= 998 for x in body.split(b"\r\n")))


def by_rspamd(messages):
    """[(signed text, how many signatures, records)]"""
    d = tempfile.mkdtemp(prefix="postamt-rspamd-")
    os.chmod(d, 0o777)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    port = instance.free_ports(1)[0]
    with open(os.path.join(d, "conf"), "w") as f:
        f.write(rspamd_config(d, sock.getsockname()[1], port))
    with open(os.path.join(d, "tld"), "w") as f:
        f.write("test\ncom\n")  # its own list of thousands takes long to compile
    records = {k: v for _, _, r in messages for k, v in r.items()}
    threading.Thread(target=serve_dns, args=(sock, records), daemon=True).start()
    p = subprocess.Popen([shutil.which("rspamd"), "-f", "-c", os.path.join(d, "conf")], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=d, **instance.as_nobody())
    try:
        wait_for(port, p, d)
        for text, n, _ in messages:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/checkv2", data=text, headers={"IP": "198.51.100.1"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                symbols = json.load(answer)["symbols"]
            seen = symbols.get("R_DKIM_ALLOW", {}).get("options", [])
            check(len(seen) == n and not {"R_DKIM_REJECT", "R_DKIM_PERMFAIL", "R_DKIM_TEMPFAIL"} & symbols.keys(),
                  f"rspamd: {symbols}: {text[:900]!r}")
    finally:
        p.terminate()
        p.wait(timeout=20)
        sock.close()
        shutil.rmtree(d, ignore_errors=True)


def wait_for(port, p, d):
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if p.poll() is not None:
                break
            time.sleep(0.1)
    with open(os.path.join(d, "log"), errors="replace") as f:
        raise RuntimeError("rspamd does not start: " + f.read()[-2000:])


def main():
    n, r = int(sys.argv[1]) if len(sys.argv) > 1 else 200, random.Random(8463)
    d = tempfile.mkdtemp(prefix="postamt-dkim-")
    os.chmod(d, 0o755)
    try:
        instance.start(d, users=0)
        sets = setup(d)
        texts = [message(r, i) for i in range(n)]
        shown = []
        for which, (domain, keys, records) in enumerate(sets):
            part = texts[which::len(sets)]
            for text, signed in zip(part, sign(domain, keys, part, r)):
                check(all(len(x) <= 78 for x in signed[:len(signed) - len(text)].split(b"\r\n")), f"a long line: {signed[:900]!r}")
                by_python(signed, 2, records, domain)
                shown.append((signed, 2, records))
        signed = next(x for x in shown if b"Subject" in x[0])
        changed(signed[0], signed[2])
        print(f"python3-dkim: {len(shown)} messages, two signatures each")
        if shutil.which("rspamd"):
            asked = [x for x in shown if rspamd_can(x[0])]
            check(len(asked) > len(shown) / 2, "rspamd is asked about too few")
            by_rspamd(asked)
            print(f"rspamd: {len(asked)} messages")
        else:
            print("rspamd is not installed: left out; apt-get install rspamd")
    finally:
        instance.stop(d)
        shutil.rmtree(d, ignore_errors=True)
    print("dkim_verify: fine" if not failures else f"dkim_verify: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
