#!/usr/bin/env python3
"""The store against a model (store_model.c, free.c), the two-scan rule (scan_rule.c), damaged derived
files (damage.c).

model.py [--long] [--all]     (`make check-long`: --long)

A failing seed prints how to tell it again. NOT_YET names checks that the store does not pass yet; --all has them too.
"""
import os
import subprocess
import sys
import time

PROGRAMS = os.path.join(os.environ.get("POSTAMT_BUILD", "."), "tests", "property")
# Names of checks (store_model.c), with a comma between them.
NOT_YET = ""


def run(program, *args, seconds):
    began = time.monotonic()
    print(program, *args, flush=True)
    try:
        rc = subprocess.run([os.path.join(PROGRAMS, program), *args], timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        print(f"{program} was not ready after {seconds} s")
        rc = 1
    print(f"{program}: {time.monotonic() - began:.1f} s, {'fine' if rc == 0 else 'FAILED'}", flush=True)
    return rc == 0


def main():
    long, strict = "--long" in sys.argv, "--all" in sys.argv
    without = [] if strict or not NOT_YET else ["--without", NOT_YET]
    if long:
        ok = [run("store_model", "--seeds", "4000", "--steps", "200", "--seconds", "1200", *without, seconds=1500),
              run("store_model", "--free", "--seeds", "200", "--steps", "200", "--seconds", "900", *without, seconds=1200),
              run("scan_rule", "10000", seconds=900), run("damage", "1", seconds=1800)]
    else:
        ok = [run("store_model", "--seeds", "300", "--steps", "60", "--seconds", "10", *without, seconds=120),
              run("store_model", "--free", "--seeds", "8", "--steps", "40", "--seconds", "3", *without, seconds=120),
              run("scan_rule", "500", "400", seconds=120), run("damage", seconds=120)]
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main())
