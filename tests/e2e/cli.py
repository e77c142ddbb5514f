#!/usr/bin/env python3
"""The postamt command: every verb with the daemons running and with them down, exit statuses, JSON, typos, prompts;
and the man pages against --help."""
import csv
import imaplib
import json
import os
import pty
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

import instance

MAN = os.path.join(instance.TOP, "man")
NEW = "Nachporto-0815"
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print(f"FAIL {what}", flush=True)


class Cli:
    def __init__(self, d):
        self.d = d
        self.seen = set()  # "noun verb" that were run

    def __call__(self, *args, stdin="", exit=0, say=None):
        """Runs it; checks exit status and that `say` is in what it prints."""
        r = instance.cli(self.d, *args, stdin=stdin, check=False)
        words = [x for x in args if not x.startswith("-")]
        self.seen.update({" ".join(words[:2]), words[0] if words else ""})
        name = "postamt " + " ".join(args)
        check(r.returncode == exit, f"{name}: exit {r.returncode}, not {exit}: {r.stdout}{r.stderr}")
        check(say is None or say in r.stdout + r.stderr, f"{name}: does not say {say!r}: {r.stdout}{r.stderr}")
        if exit not in (0, 1) and "--json" not in args:
            lines = r.stderr.strip().splitlines()
            check(len(lines) >= 2 and lines[-2].startswith("postamt: ") and lines[-1],
                  f"{name}: the error is not two lines: {r.stderr!r}")
        return r

    def json(self, *args, stdin="", exit=0):
        """The objects of the answer; every line is one."""
        r = self(*args, "--json", stdin=stdin, exit=exit)
        try:
            items = [json.loads(line) for line in r.stdout.splitlines()]
        except ValueError:
            check(False, f"postamt {' '.join(args)} --json: {r.stdout!r}")
            return [{}]
        check(exit != 0 or not r.stderr, f"postamt {' '.join(args)} --json talks: {r.stderr!r}")
        if exit != 0:
            error = items[-1].get("error", {}) if items else {}
            check(all(error.get(k) for k in ("code", "text", "fix")), f"{args}: error {items}")
        return items


def addresses(cli, *more):
    return [x["address"] for x in cli.json("account", "list", *more)]


def accounts(cli, dom):
    a, b = f"anna@{dom}", f"berta@{dom}"
    cli("account", "add", a, "--dry-run", stdin=NEW + "\n", say="nothing was changed")
    cli("account", "show", a, exit=67)
    cli("account", "add", a, "--name", "Änna Amsel", "--quota", "2G", stdin=NEW + "\n", say="is added")
    cli("account", "add", a, stdin=NEW + "\n", exit=73)
    made = cli("account", "add", b, "--generate").stdout.strip()
    check(re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", made), f"generated password {made!r}")
    cli("password", "check", b, stdin=made + "\n", say="right")
    cli("account", "add", f"short@{dom}", stdin="short\n", exit=65, say="too short")
    cli("account", "add", f"none@{dom}", stdin="", exit=65, say="there is no password")
    cli("account", "add", f"big@{dom}", "--quota", "2X", stdin=NEW + "\n", exit=65, say="500M")
    cli("account", "add", "anna@elsewhere.test", stdin=NEW + "\n", exit=67, say="postamt domain add")
    cli("account", "add", "anna", stdin=NEW + "\n", exit=65)
    item = cli.json("account", "show", a)[0]
    check((item["name"], item["quota"], item["state"]) == ("Änna Amsel", 2 << 30, "active"), f"account show: {item}")
    check(addresses(cli, dom) == [a, b], f"account list: {addresses(cli, dom)}")
    plain = cli("account", "--plain").stdout.splitlines()
    check(any(re.match(rf"{a}\tÄnna Amsel\t[-\d]+\t{2 << 30}\tactive$", x) for x in plain), f"--plain: {plain}")
    table = cli("account", "list").stdout
    check(table.startswith("ADDRESS") and "/2G" in table and "\033" not in table, f"table: {table!r}")
    cli("account", "suspend", a, "--dry-run", say="nothing was changed")
    check(cli.json("account", "show", a)[0]["state"] == "active", "a dry run suspended")
    cli("account", "suspend", a)
    check(cli.json("account", "show", a)[0]["state"] == "suspended", "suspend")
    cli("account", "resume", a)
    check(cli.json("account", "show", a)[0]["state"] == "active", "resume")
    cli("account", "language", a, "de", "--dry-run", say="nothing was changed")
    check(cli.json("account", "show", a)[0]["language"] == "en", "a dry run changed the language")
    cli("account", "language", a, "de")
    check(cli.json("account", "show", a)[0]["language"] == "de", "account language")
    cli("account", "language", a, "tlh", exit=65, say="en or de")
    cli("account", "add", f"lang@{dom}", "--language", "xx", stdin=NEW + "\n", exit=65)
    cli("account", "list", "elsewhere.test", exit=67)
    check(cli.json("account", "show", f"nobody@{dom}", exit=67)[0]["error"]["code"] == "NO_USER", "NO_USER")


def passwords(cli, dom):
    a = f"anna@{dom}"
    cli("password", "check", a, stdin=NEW + "\n", say="right")
    cli("password", "check", a, stdin=NEW + "x\n", exit=1, say="wrong")
    check(cli.json("password", "check", a, stdin=NEW + "\n")[0]["right"] is True, "password check --json")
    cli("password", "set", a, "--dry-run", stdin="Anderes-0815\n")
    cli("password", "check", a, stdin=NEW + "\n")
    cli("password", "set", a, stdin="Anderes-0815\r\n", say="new password")
    cli("password", "check", a, stdin="Anderes-0815\n")
    made = cli.json("password", "set", a, "--generate")[0]["password"]
    cli("password", "check", a, stdin=made)
    # of "Hello world!", as another server keeps it
    known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    cli("password", "set", a, "--hash", stdin="{SHA512-CRYPT}" + known + "\n")
    cli("password", "check", a, stdin="Hello world!\n")
    cli("password", "set", a, "--hash", stdin="{SSHA}c29tZXRoaW5n\n", exit=65, say="crypt(3)")
    cli("account", "add", f"hash@{dom}", "--hash", stdin=known + "\n")
    cli("password", "check", f"hash@{dom}", stdin="Hello world!\n")
    cli("password", "set", f"nobody@{dom}", stdin=NEW + "\n", exit=67)
    cli("password", exit=64)


def mailboxes(cli, dom):
    """The verbs and their refusals; what they do to mail is tests/e2e/postboxes.py's."""
    a = f"anna@{dom}"
    source = os.path.join(cli.d, f"{dom}.mbox")
    with open(source, "w") as f:
        f.write("From x Wed Jun 30 21:49:08 1993\nSubject: x\n\nFrom here\n")
    os.chmod(source, 0o644)
    cli("mailbox", "create", a, "Alt/Neu", "--dry-run")
    check(all(x["mailbox"] != "Alt/Neu" for x in cli.json("mailbox", "list", a)), "a dry run made a mailbox")
    cli("mailbox", "create", a, "Alt/Neu", say="created")
    cli("mailbox", "create", a, "Alt/Neu", exit=73)
    cli("mailbox", "create", a, "a//b", exit=65)
    cli("mailbox", "import", a, "Alt/Neu", source, "--dry-run", say="1 messages")
    check(cli.json("mailbox", "import", a, "Alt/Neu", source)[-1]["messages"] == 1, "import")
    cli("mailbox", "import", a, "Alt/Neu", source, "--format", "maildir", exit=65)
    cli("mailbox", "import", a, "Alt/Neu", source, "--format", "pst", exit=65, say="mbox or maildir")
    cli("mailbox", "import", a, "Alt/Neu", source + ".none", exit=65)
    rows = {x["mailbox"]: x for x in cli.json("mailbox", "list", a)}
    check(rows["Alt/Neu"]["messages"] == 1 and rows["Alt/Neu"]["unseen"] == 1, f"mailbox list: {rows}")
    check(cli("mailbox", "list", a).stdout.startswith("MAILBOX"), "mailbox table")
    cli("mailbox", "rename", a, "Alt/Neu", "Alt/Anders", "--dry-run")
    cli("mailbox", "rename", a, "Alt/Neu", "Alt/Anders")
    cli("mailbox", "rename", a, "Alt/Neu", "Alt/Anders", exit=67)
    target = os.path.join(cli.d, "mail", f"{dom}.export")  # a place where the mail's owner may write
    check(cli.json("mailbox", "export", a, target, "--dry-run")[0]["messages"] == 1, "export --dry-run")
    check(not os.path.exists(target), "a dry run exported")
    check(cli.json("mailbox", "export", a, target)[0]["messages"] == 1, "export")
    check(cli.json("mailbox", "export-dovecot", a)[0]["mailbox"] == "INBOX", "export-dovecot")
    cli("mailbox", "verify", a, say="all is well")
    cli("mailbox", "repair", a, say="all is well")
    cli("mailbox", "delete", a, "Alt/Anders", exit=64, say="--yes")
    cli("mailbox", "delete", a, "Alt/Anders", "--dry-run")
    cli("mailbox", "delete", a, "Alt/Anders", "--yes")
    cli("mailbox", "delete", a, "INBOX", "--yes", exit=73)
    cli("mailbox", "list", f"nobody@{dom}", exit=67)


def aliases(cli, dom):
    a, info = f"anna@{dom}", f"info@{dom}"
    cli("alias", "add", info, a, "--dry-run")
    check(cli.json("alias", "list", dom) == [], "a dry run made an alias")
    cli("alias", "add", info, a, "--may-send")
    cli("alias", "add", info, a, exit=73)
    cli("alias", "add", f"post@{dom}", a, "--no-delivery", exit=64)
    cli("alias", "add", f"post@{dom}", a, "--no-delivery", "--may-send")
    cli("alias", "add", "@" + dom, f"berta@{dom}")
    items = {x["address"]: x for x in cli.json("alias")}
    check(items[info]["deliver"] and items[info]["may_send"], f"alias list: {items}")
    check(not items[f"post@{dom}"]["deliver"], f"alias list: {items}")
    check("MAY SEND" in cli("alias", "list").stdout, "alias table")
    check(a in cli("alias", "test", info).stdout, "alias test")
    check(cli.json("alias", "test", f"{a.replace('@', '+shop@')}")[-1]["address"] == a, "alias test: sub-address")
    cli("alias", "test", "x@elsewhere.test", exit=67)
    away = f"sales@{dom}"
    cli("alias", "add", away, "peter@elsewhere.test", "--may-send", exit=67, say="--may-send")
    cli("alias", "add", away, "peter@elsewhere.test")
    steps = cli.json("alias", "test", away)
    check(steps[-1] == {"address": "peter@elsewhere.test", "step": "forwarded to this address of another server"},
          f"alias test, elsewhere: {steps}")
    cli("alias", "remove", away, "peter@elsewhere.test", "--yes")
    cli("alias", "test", "x", exit=65)
    cli("alias", "remove", info, a, exit=64, say="--yes")
    cli("alias", "remove", info, a, "--dry-run")
    cli("alias", "remove", info, a, "--yes")
    cli("alias", "remove", info, a, "--yes", exit=67)


def expunged(cli, dom):
    """What they do to mail: tests/e2e/expunged.py."""
    a = f"anna@{dom}"
    check(cli.json("mailbox", "undelete", a, "--dry-run") == [], "nothing was deleted, but undelete shows something")
    cli("mailbox", "undelete", a, say="nothing of")
    cli("mailbox", "undelete", a, "INBOX", "--since", "2h", say="there")
    cli("mailbox", "undelete", a, "INBOX", "--since", "2026-11-20T12:30Z")
    cli("mailbox", "undelete", a, "--since", "yesterday", exit=65, say="2026-11-20")
    cli("mailbox", "undelete", a, "Nowhere", exit=67)
    cli("mailbox", "undelete", a, "a//b", exit=65)
    cli("mailbox", "undelete", f"nobody@{dom}", exit=67)
    cli("mailbox", "purge", exit=64)
    cli("mailbox", "purge", a, "--all", exit=64)
    check([x["messages"] for x in cli.json("mailbox", "purge", a)] == [0], "purge")
    check(a in [x["address"] for x in cli.json("mailbox", "purge", "--all")], "purge --all")


def domains(cli, dom):
    cli("domain", "add", dom, "--dry-run")
    check(dom not in [x["domain"] for x in cli.json("domain")], "a dry run added a domain")
    cli("domain", "add", dom, say="is added")
    check(cli.json("domain", "add", dom, exit=73)[0]["error"]["code"] == "EXISTS", "EXISTS")
    cli("domain", "add", "not a domain", exit=65)


def dkim(cli, dom):
    """Keys below auth/dkim, 0600; what signs, what is put aside."""
    folder = os.path.join(cli.d, "auth/dkim", dom)
    first = cli.json("domain", "dkim", dom)
    check(len(first) == 1 and first[0]["algorithm"] == "rsa" and re.fullmatch(r"p\d{6}", first[0]["selector"]), f"first key {first}")
    check(os.stat(os.path.join(folder, first[0]["selector"] + ".pem")).st_mode & 0o777 == 0o600, "mode of a key")
    check("SELECTOR" in cli("domain", "dkim", dom).stdout, "domain dkim: table")
    cli("domain", "dkim", dom, "--ed25519", "--dry-run", say="would be made")
    check(len(os.listdir(folder)) == 1, "a dry run made a key")
    made = cli.json("domain", "dkim", dom, "--ed25519")[0]
    check(made["record"].startswith("v=DKIM1; k=ed25519; p="), f"ed25519: {made}")
    check(cli.json("domain", "dkim", dom, "--ed25519") == [*first, made], "a second --ed25519 lists")
    cli("domain", "dkim", dom, "--rotate", say="domain dns")
    keys = [x["selector"] for x in cli.json("domain", "dkim", dom)]
    check(keys == [first[0]["selector"], first[0]["selector"] + "b", made["selector"]], f"rotated: {keys}")
    cli("domain", "dkim", dom, "--remove", keys[0], exit=64, say="--yes")
    cli("domain", "dkim", dom, "--remove", keys[0], "--rotate", "--yes", exit=64)
    cli("domain", "dkim", dom, "--remove", "nosuch", "--yes", exit=67)
    cli("domain", "dkim", dom, "--remove", keys[0], "--dry-run", say="nothing was changed")
    cli("domain", "dkim", dom, "--remove", keys[0], "--yes", say="put aside")
    cli("domain", "dkim", dom, "--remove", keys[2], "--yes")
    cli("domain", "dkim", dom, "--remove", keys[1], "--yes", exit=73, say="--rotate")
    check(sorted(os.listdir(os.path.join(cli.d, "auth/dkim/_removed", dom))) == sorted([keys[0] + ".pem", keys[2] + ".pem"]),
          "what was put aside is not there")
    cli("domain", "dkim", "elsewhere.test", exit=67)
    # a domain of an installation from before there were keys
    os.rename(folder, folder + "-away")
    cli("domain", "dns", dom, say="postamt domain dkim " + dom)
    cli("domain", "dkim", dom, say="is made")
    check(len(cli.json("domain", "dkim", dom)) == 1, "the first key of an old domain")
    shutil.rmtree(folder + "-away")


def dns(cli, dom):
    key = cli.json("domain", "dkim", dom)[0]
    rows = {(x["name"], x["type"]): x for x in cli.json("domain", "dns", dom)}
    check(rows[dom, "MX"]["value"] == "mail.example.test" and rows[dom, "MX"]["priority"] == 10, f"MX: {rows}")
    check(rows[dom, "TXT"]["value"] == "v=spf1 mx -all", f"SPF: {rows}")
    check(rows["_dmarc." + dom, "TXT"]["value"] == f"v=DMARC1; p=none; rua=mailto:postmaster@{dom}", f"DMARC: {rows}")
    txt = rows[f"{key['selector']}._domainkey.{dom}", "TXT"]
    parts = re.findall(r'"([^"]*)"', txt["quoted"])
    check(txt["value"] == key["record"] == "".join(parts) and max(map(len, parts)) == 255, f"DKIM: {txt}")
    for name, priority in (("_imaps", 0), ("_submissions", 0), ("_pop3s", 10)):
        srv = rows[f"{name}._tcp.{dom}", "SRV"]
        check(srv["priority"] == priority and re.fullmatch(r"1 \d+ mail\.example\.test", srv["value"]), f"SRV: {srv}")
    check(cli("domain", "dns", dom, "--format", "json").stdout == cli("domain", "dns", dom, "--json").stdout, "--format json")
    table = list(csv.DictReader(cli("domain", "dns", dom, "--format", "csv").stdout.splitlines()))
    check([(x["name"], x["type"], x["value"], x["priority"]) for x in table] ==
          [(x["name"], x["type"], x["value"], str(x.get("priority", ""))) for x in rows.values()], f"csv: {table}")
    plain = [x.split("\t") for x in cli("domain", "dns", dom, "--plain").stdout.splitlines()]
    check(plain == [list(x.values()) for x in table], f"--plain: {plain}")
    zone = cli("domain", "dns", dom).stdout.splitlines()
    check(len(zone) == 2 * len(rows) and all(x.startswith("; ") for x in zone[::2]), f"bind: {zone}")
    check(f"{dom}. 3600 IN MX 10 mail.example.test." in zone, f"bind: {zone}")
    check(f"{key['selector']}._domainkey.{dom}. 3600 IN TXT {txt['quoted']}" in zone, f"bind: {zone}")
    cli("domain", "dns", dom, "--format", "xml", exit=64, say="bind, csv or json")
    cli("domain", "dns", "elsewhere.test", exit=67)


def removals(cli, dom):
    check(cli.json("domain", "remove", dom, "--yes", exit=73)[0]["error"]["code"] == "CANNOT", "CANNOT")
    row = next(x for x in cli.json("domain", "list") if x["domain"] == dom)
    check((row["accounts"], row["aliases"]) == (3, 2), f"domain list: {row}")
    for x in cli.json("alias", "list", dom):
        cli("alias", "remove", x["address"], x["target"], "--yes")
    for address in addresses(cli, dom):
        cli("account", "remove", address, exit=64, say="--dry-run")
        cli("account", "remove", address, "--dry-run")
        cli("account", "remove", address, "--yes", say="is removed")
    cli("account", "list", dom, say="There are no accounts")
    cli("domain", "remove", dom, "--dry-run")
    cli("domain", "remove", dom, "--yes")
    cli("domain", "remove", dom, "--yes", exit=67)
    check(not os.path.exists(os.path.join(cli.d, "auth/dkim", dom)), "the keys of a removed domain still sign")
    check(len(os.listdir(os.path.join(cli.d, "auth/dkim/_removed", dom))) == 3, "keys of a removed domain are gone")


def directory(cli, dom):
    for part in (domains, dkim, dns, accounts, passwords, expunged, mailboxes, aliases, removals):
        part(cli, dom)


def configuration(cli, running):
    file = os.path.join(cli.d, "postamt.conf")
    cli("config", "check", say="good")
    check(cli.json("config", "check")[0]["good"], "config check --json")
    check("limits.message_size" in [x["name"] for x in cli.json("config", "describe")], "config describe")
    check(len(cli.json("config", "describe", "limits")) > 5, "config describe limits")
    cli("config", "describe", "limits.mesage_size", exit=64, say='did you mean "limits.message_size"?')
    check({"name": "hostname", "value": '"mail.example.test"'} in cli.json("config"), "config diff")
    cli("config", "diff", "--plain", say="hostname\t")
    with open(file) as f:
        good = f.read()
    with open(file, "a") as f:
        f.write('limits = { mesage_size = "1M"; };\n')
    at = len(good.splitlines()) + 1
    cli("config", "check", exit=78, say=f"{file}:{at}: ")
    complaint = cli.json("config", "check", exit=78)[0]
    check(complaint["line"] == at and "message_size" in complaint["fix"], f"complaint {complaint}")
    cli("config", "reload", exit=78)
    cli("account", "list", exit=78)
    with open(file, "w") as f:
        f.write(good)
    cli("config", "reload", "--dry-run", say="was not told")
    if not running:
        check(cli.json("config", "reload", exit=69)[0]["error"]["code"] == "NOT_RUNNING", "reload while down")
        return
    check(cli.json("config", "reload") == [{"reloaded": True}], "config reload")
    with open(file, "w") as f:
        f.write(good + "fronts = 3;\n")
    cli("config", "reload", exit=78, say="systemctl restart postamt")
    with open(file, "w") as f:
        f.write(good)


def status(cli, running):
    if not running:
        cli("status", exit=69, say="systemctl start postamt")
        check(cli.json("status", exit=69)[0]["error"]["code"] == "NOT_RUNNING", "status while down")
        return
    s = cli.json("status")[0]
    check(s["running"] and {"version", "pid", "started", "listeners", "roles"} <= s.keys(), f"status: {s}")
    screen = cli("status").stdout
    for word in ("postamt " + s["version"], "SERVICE", "submission", "ROLE", "authd", "ready"):
        check(word in screen, f"status does not show {word!r}: {screen}")
    check("\n\n" in cli("status", "--plain").stdout, "status --plain")


def log_in(info, user, password):
    tls = ssl.create_default_context(cafile=info["ca_file"])
    tls.check_hostname = False
    m = imaplib.IMAP4_SSL(info["host"], info["ports"]["imaps"], ssl_context=tls, timeout=20)
    try:
        return m.login(user, password)[0] == "OK"
    except imaplib.IMAP4.error:
        return False
    finally:
        try:
            m.logout()
        except imaplib.IMAP4.error:
            pass


def effects(cli, info):
    """What was changed is so for the daemons, too, at once."""
    user = info["users"]["template"] % 0
    check(log_in(info, user, instance.PASSWORD), "login with the first password")
    cli("password", "set", user, stdin=NEW + "\n")
    check(not log_in(info, user, instance.PASSWORD), "the old password is still good")
    check(log_in(info, user, NEW), "login with the new password")
    cli("account", "suspend", user)
    check(not log_in(info, user, NEW), "login while suspended")
    cli("account", "resume", user)
    check(log_in(info, user, NEW), "login after resume")


def typos(cli):
    for args, say in (
            (("acount", "list"), 'did you mean "account"?'),
            (("account", "lst"), 'did you mean "list"?'),
            (("account", "list", "--jason"), 'did you mean "--json"?'),
            (("account", "add", "a@b.org", "--quotta", "1G"), 'did you mean "--quota"?'),
            (("account", "list", "--dry-run"), "postamt account list --help"),
            (("account", "show"), "write: postamt account show ADDRESS"),
            (("status", "x"), "write: postamt status")):
        cli(*args, exit=64, say=say)
    check(cli.json("acount", exit=64)[0]["error"]["fix"] == 'did you mean "account"?', "typo --json")


def no_config(cli):
    r = subprocess.run([os.path.join(cli.d, "prog", "postamt"), "domain", "--config", "/nowhere/postamt.conf"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    check(r.returncode == 78 and "/nowhere/postamt.conf" in r.stderr, f"no configuration: {r}")
    if os.getuid() == 0:
        hidden = os.path.join(cli.d, "hidden.conf")
        shutil.copy(os.path.join(cli.d, "postamt.conf"), hidden)
        os.chmod(hidden, 0o600)
        r = subprocess.run([os.path.join(cli.d, "prog", "postamt"), "domain", "--config", hidden], cwd="/",
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                           **instance.as_nobody())
        check(r.returncode == 77 and "you may not read" in r.stderr, f"configuration of others: {r}")


def typed(cli, args, answers):
    """Runs it on a terminal; answers: (what to wait for, what to type). Returns exit status and screen."""
    master, slave = pty.openpty()
    p = subprocess.Popen([os.path.join(cli.d, "prog", "postamt"), *args, "--config", os.path.join(cli.d, "postamt.conf")],
                         stdin=slave, stdout=slave, stderr=slave, cwd="/", start_new_session=True,
                         env={**os.environ, "TERM": "xterm", "NO_COLOR": ""}, **instance.as_nobody())
    os.close(slave)
    screen, at, todo, deadline = "", 0, list(answers), time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        screen += data.decode()
        if todo and todo[0][0] in screen[at:]:
            at = len(screen)
            time.sleep(0.1)  # the echo is off before the prompt is written, but TCSAFLUSH drops what comes too early
            os.write(master, todo.pop(0)[1].encode() + b"\n")
    os.close(master)
    return p.wait(timeout=30), screen


def prompts(cli):
    user = "typed@" + instance.DOMAIN
    code, screen = typed(cli, ["account", "add", user], [("New password", NEW), ("again", NEW + "x")])
    check(code == 65 and "not the same" in screen, f"two different passwords: {code} {screen!r}")
    code, screen = typed(cli, ["account", "add", user], [("New password", NEW), ("again", NEW)])
    check(code == 0 and NEW not in screen, f"a typed password: {code} {screen!r}")
    code, screen = typed(cli, ["password", "check", user], [("Password of", NEW)])
    check(code == 0 and NEW not in screen, f"a checked password: {code} {screen!r}")
    code, screen = typed(cli, ["account", "list"], [])
    check("\033[1m" in screen, f"no colour on a terminal: {screen!r}")
    code, screen = typed(cli, ["account", "remove", user], [("[y/N]", "n")])
    check(code == 75 and "nothing was changed" in screen, f"answer no: {code} {screen!r}")
    code, screen = typed(cli, ["account", "remove", user], [("[y/N]", "y")])
    check(code == 0 and "is removed" in screen, f"answer yes: {code} {screen!r}")


def side_by_side(cli):
    """With the daemons down each opens the directory: they wait for one another."""
    names = [f"side{i}.test" for i in range(4)]
    running = [subprocess.Popen([os.path.join(cli.d, "prog", "postamt"), "domain", "add", x, "--config",
                                 os.path.join(cli.d, "postamt.conf")], cwd="/", stdin=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, **instance.as_nobody()) for x in names]
    for p in running:
        err = p.communicate(timeout=60)[1]
        check(p.returncode == 0, f"side by side: {err}")
    check(set(names) <= {x["domain"] for x in cli.json("domain")}, "side by side: a domain is missing")


def as_root(cli):
    """Root leaves the directory's files to their owner; folders that are missing are made."""
    if os.getuid() != 0:
        return
    program, conf = os.path.join(cli.d, "prog", "postamt"), os.path.join(cli.d, "postamt.conf")
    subprocess.run([program, "domain", "add", "root.test", "--config", conf], check=True, stderr=subprocess.DEVNULL)
    for folder, _, files in os.walk(os.path.join(cli.d, "auth")):
        for x in [folder, *(os.path.join(folder, f) for f in files)]:
            check(os.stat(x).st_uid == instance.NOBODY, f"{x} belongs to {os.stat(x).st_uid} after root's command")
    with open(conf) as f:
        text = f.read()
    fresh = os.path.join(cli.d, "fresh.conf")
    with open(fresh, "w") as f:
        f.write(text.replace(f'auth = "{cli.d}/auth"', f'auth = "{cli.d}/new/deep/auth"')
                .replace(f'run = "{cli.d}/run"', f'run = "{cli.d}/new/run"'))
    subprocess.run([program, "domain", "add", "root.test", "--config", fresh], check=True, stderr=subprocess.DEVNULL)
    check(os.stat(os.path.join(cli.d, "new/deep/auth")).st_mode & 0o777 == 0o700, "mode of a new directory")


def flags_of(text):
    return set(re.findall(r"^  --([a-z-]+)", text, re.M))


def pages(cli):
    """Each verb and flag of --help is in the page of its noun, and nothing else is there. Returns all verbs."""
    verbs = set()
    top = cli("--help").stdout
    nouns = re.findall(r"^  ([a-z]+) ", top.split("Nouns:")[1].split("Flags:")[0], re.M)
    with open(os.path.join(MAN, "postamt.1")) as f:
        main = f.read()
    for flag in flags_of(top) | {"dry-run", "yes"}:
        check(f".It Fl -{flag}" in main, f"postamt.1 lacks --{flag}")
    general = flags_of(top) - {"version"}
    for noun in nouns:
        with open(os.path.join(MAN, f"postamt-{noun}.1")) as f:
            page = f.read()
        check(f".It Cm {noun}\n" in main, f"postamt.1 lacks {noun}")
        check(page.count(".Bd -literal") == 2, f"postamt-{noun}.1 has not two examples")
        if noun == "status":
            verbs.add(noun)
            check("Fl -json" in page and "Fl -plain" in page, "postamt-status.1 lacks a flag")
            continue
        told = dict(re.findall(r"^\.It Cm ([a-z-]+)(.*)$", page, re.M))
        listed = re.findall(r"^  ([a-z-]+)", cli(noun, "--help").stdout.split("Verbs:")[1].split("Flags:")[0], re.M)
        check(set(told) == set(listed), f"postamt-{noun}.1 has {sorted(told)}, --help has {sorted(listed)}")
        for verb in listed:
            verbs.add(f"{noun} {verb}")
            text = cli(noun, verb, "--help").stdout
            want = flags_of(text) - general
            have = set(re.findall(r"Fl -([a-z-]+)", told.get(verb, "")))
            check(want == have, f"postamt-{noun}.1, {verb}: {sorted(have)}, --help has {sorted(want)}")
            objects = re.match(rf"Usage: postamt {noun} {verb} ?([A-Z. \[\]]*?) ?\[--flag", text)
            words = re.findall(r"[A-Z]+", objects.group(1) if objects else "?")
            check(all(w in told.get(verb, "") for w in words), f"postamt-{noun}.1, {verb}: objects {words}")
            check(len(re.findall(rf"^  postamt {noun} {verb}\b", text, re.M)) == 2, f"{noun} {verb}: examples")
    return verbs


def main():
    d = tempfile.mkdtemp(prefix="postamt-cli-")
    os.chmod(d, 0o755)
    try:
        info = instance.start(d, users=1)
        cli = Cli(d)
        verbs = {x for x in pages(cli) if not x.startswith("queue ")}  # those are tried by queue_cli.py
        for running in (True, False):
            cli.seen.clear()
            if not running:
                instance.stop(d)
            directory(cli, "up.test" if running else "down.test")
            configuration(cli, running)
            status(cli, running)
            prompts(cli)
            check(verbs <= cli.seen, f"not tried, running={running}: {sorted(verbs - cli.seen)}")
            if running:
                effects(cli, info)
            else:
                side_by_side(cli)
                as_root(cli)
        typos(cli)
        no_config(cli)
        info = instance.restart(d)
        check(log_in(instance.load(d), info["users"]["template"] % 0, NEW), "login after the restart")
    finally:
        try:
            instance.stop(d)
        except instance.InstanceError:
            pass
        if failures:
            print(instance.log_tail(d, 20))
        shutil.rmtree(d, ignore_errors=True)
    print(f"cli: {len(failures)} failed" if failures else "cli: fine")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
