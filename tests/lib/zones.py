#!/usr/bin/env python3
"""The whole DNS on a loopback port: an NSD that holds the root and every zone a test wants, signed where it says so.

    with zones.Server(folder, {"example.test": "@ MX 10 mx1\\nmx1 A 127.0.0.1\\n", "dane.test": ..., "bad.test": ...},
                      signed={"dane.test"}, bogus={"bad.test"}) as dns:
        info = instance.start(d, extra=dns.settings)       # dns.server and dns.trust_anchor of postamt.conf
        dns.update({"example.test": "@ MX 10 mx2\\nmx2 A 127.0.0.1\\n"})
        dns.stop()                                         # nobody answers on that port now
        dns.start()                                        # the same zones on the same port

folder: made when it is not there; throw away with the test. As root NSD runs as nobody.
zones: name -> lines of a master file; names are relative to the zone, "@" is the zone itself, a name with a final dot is
    whole. $TTL, SOA, NS and ns.<zone> are added. Long TXT records: zones.txt(text). A list or a dict of lists is not
    taken: it is text. The root is made from the names, is always signed and delegates to each; a name in no zone is
    NXDOMAIN (secure).
signed, bogus: names of zones. Signed ones are vouched for by the root; bogus ones too, but their signatures expired long
    ago, so all in them is bogus. The others are insecure.
ttl: seconds, of all records and of what is not there. Short, so that what update() changed is soon seen; but resolvers
    remember for longer (libunbound: 5 s) that an answer was bogus or failed.

    dns.address       "127.0.0.1@PORT", as dns.server wants it
    dns.port
    dns.anchor_file   a DNSKEY record of the root, as dns.trust_anchor wants it
    dns.settings      both as text for postamt.conf
    dns.update(zones) replaces or adds those zones (signed or not as was said at the start) and returns when they are
                      served; a zone with text None is removed
    dns.stop(), dns.start()

zones.missing() says why it cannot be used here (or None): print it and end with 77.

It takes about 0.2 s to start, 0.1 s to update. For a look from the shell: zones.py FOLDER ZONE=FILE.. [--signed ZONE]..
"""
import argparse
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from instance import HOST, NOBODY, as_nobody, free_ports

PROGRAMS = ("nsd", "ldns-keygen", "ldns-signzone")
PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
SECONDS = 10  # to start and to read zones anew
LONG_AGO = ["-i", "20190101000000", "-e", "20200101000000"]


class ZonesError(Exception):
    pass


def missing():
    lacking = [x for x in PROGRAMS if not shutil.which(x, path=PATH)]
    return f"{', '.join(lacking)}: not installed (nsd, ldnsutils)" if lacking else None


def txt(text):
    """The data of a TXT record: any length, in strings of 250 octets."""
    quoted = [text[i:i + 250].replace("\\", "\\\\").replace('"', '\\"') for i in range(0, len(text), 250)]
    return " ".join(f'"{x}"' for x in quoted or [""])


def run(*args, cwd):
    args = [shutil.which(args[0], path=PATH) or args[0], *args[1:]]
    r = subprocess.run(args, cwd=cwd, text=True, capture_output=True, timeout=60, **as_nobody())
    if r.returncode != 0:
        raise ZonesError(f"{' '.join(args)}: {r.stdout}{r.stderr}")
    return r.stdout


class Server:
    def __init__(self, folder, zones, signed=(), bogus=(), ttl=2):
        self.folder = os.path.abspath(folder)
        self.zones, self.signed, self.bogus, self.ttl = dict(zones), set(signed) | set(bogus) | {""}, set(bogus), ttl
        self.serial, self.keys, self.child = 0, {}, None
        os.makedirs(self.folder, exist_ok=True)
        if os.getuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        self.write_zones(self.zones)
        for attempt in range(5):
            self.port = free_ports(1)[0]
            self.write_config()
            try:
                self.start()
                break
            except ZonesError:  # somebody took the port in between, or has it for UDP
                if attempt == 4:
                    raise
        self.address = f"{HOST}@{self.port}"
        self.anchor_file = os.path.join(self.folder, self.keys[""] + ".key")
        self.settings = f'dns = {{ server = "{self.address}"; trust_anchor = "{self.anchor_file}"; }};\n'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- files ---

    def path(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, text):
        with open(self.path(name + ".new"), "w") as f:
            f.write(text)
        os.chmod(self.path(name + ".new"), 0o644)
        os.rename(self.path(name + ".new"), self.path(name))

    def key(self, zone):
        if zone not in self.keys:
            self.keys[zone] = run("ldns-keygen", "-k", "-r", "/dev/urandom", "-a", "ECDSAP256SHA256", zone or ".",
                                  cwd=self.folder).strip()
        return self.keys[zone]

    def write_zone(self, zone, text):
        name, file = zone + ".", (zone or "root") + ".zone"
        head = (f"$ORIGIN {name}\n$TTL {self.ttl}\n"
                f"@ SOA ns.{name.lstrip('.')} hostmaster.{name.lstrip('.')} {self.serial} 3600 600 86400 {self.ttl}\n"
                f"@ NS ns\nns A {HOST}\n")
        self.put(file, head + text + "\n")
        if zone in self.signed:
            when = LONG_AGO if zone in self.bogus else []
            run("ldns-signzone", *when, "-f", file + ".signed", "-o", name, file, self.key(zone), cwd=self.folder)
            os.rename(self.path(file + ".signed"), self.path(file))

    def write_zones(self, zones):
        self.serial += 1
        for zone, text in zones.items():
            self.write_zone(zone, text)
        root = ""
        for zone in self.zones:
            root += f"{zone}. NS ns.{zone}.\nns.{zone}. A {HOST}\n"
            if zone in self.signed:
                with open(self.path(self.key(zone) + ".ds")) as f:
                    root += f.read()
        self.write_zone("", root)

    def write_config(self):
        files = {"database": "", "logfile": self.path("log"), "pidfile": "", "xfrdfile": "", "zonelistfile": self.path("list"),
                 "xfrdir": self.folder, "zonesdir": self.folder, "username": "", "chroot": "", "ip-address": f"{HOST}@{self.port}"}
        text = "server:\n" + "".join(f'  {k}: "{v}"\n' for k, v in files.items())
        text += "  server-count: 1\n  zonefiles-check: yes\n  reuseport: no\n  tcp-timeout: 5\nremote-control:\n  control-enable: no\n"
        for zone in ["", *self.zones]:
            text += f'zone:\n  name: "{zone or "."}"\n  zonefile: "{zone or "root"}.zone"\n'
        self.put("nsd.conf", text)

    # --- the process ---

    def served(self):
        """The serial of the root as it is answered now; None: no answer."""
        query = struct.pack(">6H", 4711, 0, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 6, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect((HOST, self.port))
                s.send(query)
                answer = s.recv(4096)
            except OSError:
                return None
        # root, SOA, IN, TTL, length, then ns., hostmaster. (a pointer or a whole name) and five numbers
        at = len(query)
        if struct.unpack(">H", answer[6:8])[0] == 0:
            return None
        length = struct.unpack(">H", answer[at + 9:at + 11])[0]
        return struct.unpack(">I", answer[at + 11 + length - 20:at + 11 + length - 16])[0]

    def wait(self):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if self.served() == self.serial:
                return self.check_log()
            if self.child.poll() is not None:
                break
            time.sleep(0.01)
        self.stop()
        with open(self.path("stderr")) as f:
            raise ZonesError(f"NSD does not serve its zones: {f.read()}")

    def check_log(self):
        """A zone that could not be read is a mistake of the test's."""
        with open(self.path("log")) as f:
            wrong = [line for line in f if "error" in line]
        if wrong:
            self.stop()
            raise ZonesError("NSD says: " + "".join(wrong))

    def start(self):
        with open(self.path("stderr"), "w") as err:
            args = [shutil.which("nsd", path=PATH) or "nsd", "-d", "-c", self.path("nsd.conf")]
            self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.folder,
                                          start_new_session=True, **as_nobody())
        self.wait()

    def stop(self):
        if self.child is None:
            return
        try:  # all of its processes
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait(SECONDS)
        self.child = None

    def update(self, zones):
        known = set(self.zones)
        self.zones = {k: v for k, v in {**self.zones, **zones}.items() if v is not None}
        self.write_zones({k: v for k, v in zones.items() if v is not None})
        if set(self.zones) != known:  # which zones there are is read at the start only
            was_up = self.child is not None
            self.stop()
            self.write_config()
            if was_up:
                self.start()
        elif self.child is not None:
            self.child.send_signal(signal.SIGHUP)
            self.wait()


def main():
    p = argparse.ArgumentParser(prog="zones.py", description=__doc__.split("\n")[0])
    p.add_argument("folder")
    p.add_argument("zones", nargs="*", metavar="ZONE=FILE")
    p.add_argument("--signed", action="append", default=[])
    p.add_argument("--bogus", action="append", default=[])
    a = p.parse_args()
    texts = {}
    for x in a.zones:
        zone, _, file = x.partition("=")
        with open(file) as f:
            texts[zone] = f.read()
    with Server(a.folder, texts, signed=a.signed, bogus=a.bogus) as dns:
        print(dns.settings, end="", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
