#!/usr/bin/env python3
"""Floors: a file includes headers of its own floor and lower ones; a library's header appears where it belongs only.

floors.py TOP; prints each offence and ends with 1 if there is any."""
import os
import re
import sys

FLOOR = {"common": 1, "mail": 2, "auth": 3, "store": 3, "queue": 3, "lookup": 3, "session": 3.5,
         "smtpd": 4, "imapd": 4, "pop3d": 4, "admin": 4, "master": 5}
PROTOCOLS = {"smtpd", "imapd", "pop3d"}
# header -> the only files that may include it
ONLY = {
    "sasl/sasl.h": {"auth/sasl.c"},
    "sasl/saslplug.h": {"auth/sasl.c"},
    "libconfig.h": {"common/settings.c"},
    "db.h": {"common/kv.c"},
    "seccomp.h": {"common/sandbox.c", "common/sandbox_calls.c"},
    "crypt.h": {"auth/password.c"},
    "idn2.h": {"mail/address.c"},
    "unbound.h": {"lookup/resolverd.c"},
    "curl/curl.h": {"lookup/fetchd.c"},
}
OPENSSL = re.compile(r"common/(tls|stream)\w*\.[ch]|auth/(password|verifier|throttle)\.c|store/\w+\.c|mail/(dkim\w*|srs)\.c")


def offences(top):
    for folder in FLOOR:
        for name in sorted(os.listdir(os.path.join(top, folder))) if os.path.isdir(os.path.join(top, folder)) else []:
            if not name.endswith((".c", ".h")):
                continue
            path = f"{folder}/{name}"
            with open(os.path.join(top, path), encoding="utf-8") as f:
                for number, line in enumerate(f, 1):
                    m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
                    if not m:
                        continue
                    header = m.group(1)
                    other = header.split("/")[0]
                    if header in ONLY and path not in ONLY[header]:
                        yield f"{path}:{number}: <{header}> belongs in {', '.join(ONLY[header])} only"
                    if header.startswith("openssl/") and not OPENSSL.fullmatch(path):
                        yield f"{path}:{number}: <{header}>: OpenSSL is for tls, streams, hashes"
                    if other not in FLOOR or "/" not in header:
                        continue
                    if FLOOR[other] > FLOOR[folder]:
                        yield f"{path}:{number}: {folder} (floor {FLOOR[folder]}) includes {header} (floor {FLOOR[other]})"
                    if folder in PROTOCOLS and other in PROTOCOLS and folder != other:
                        yield f"{path}:{number}: {folder} includes {header}; protocols do not know each other"


def main():
    found = list(offences(sys.argv[1]))
    print("\n".join(found) if found else "floors: fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
