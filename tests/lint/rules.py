#!/usr/bin/env python3
"""House rules a compiler does not check. rules.py TOP

 - functions that forget lengths are not used (security.md 5)
 - RFC references point at a section that exists, where the text is at hand (RFC_DIR)
"""
import os
import re
import sys

FOLDERS = ["common", "mail", "auth", "store", "queue", "lookup", "session", "smtpd", "imapd", "pop3d", "admin", "master"]
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|strtok|strtok_r|atoi|atol|atoll|gets|alloca|"
                    r"scanf|sscanf|system|popen|strdupa)\s*\(")
REFERENCE = re.compile(r"RFC (\d{3,5}) (\d+(?:\.\d+)+)")


def strip_comments_and_strings(text):
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def sections(rfc_dir, number, cache={}):
    if number not in cache:
        path = os.path.join(rfc_dir, f"rfc{number}.txt")
        cache[number] = None
        if os.path.exists(path):
            with open(path, errors="replace") as f:
                cache[number] = set(re.findall(r"(?m)^\s{0,6}(\d+(?:\.\d+)+)\.?\s", f.read()))
    return cache[number]


def main():
    top, rfc_dir = sys.argv[1], os.environ.get("RFC_DIR", "")
    bad = []
    for folder in FOLDERS:
        d = os.path.join(top, folder)
        for name in sorted(os.listdir(d)) if os.path.isdir(d) else []:
            if not name.endswith((".c", ".h")):
                continue
            with open(os.path.join(d, name), encoding="utf-8") as f:
                text = f.read()
            for m in BANNED.finditer(strip_comments_and_strings(text)):
                bad.append(f"{folder}/{name}:{text.count(chr(10), 0, m.start()) + 1}: {m.group(1)} is not used here")
            for m in REFERENCE.finditer(text) if rfc_dir else []:
                known = sections(rfc_dir, m.group(1))
                if known is not None and m.group(2) not in known:
                    bad.append(f"{folder}/{name}:{text.count(chr(10), 0, m.start()) + 1}: {m.group(0)} has no such section")
    print("\n".join(bad) if bad else "rules: fine")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
