#!/usr/bin/env python3
"""Tables of the code in the man pages: log events, errors, roles, channels, the sandbox.

    man/tables.py TOP            writes them anew, between .\\" table NAME and .\\" end of each page
    man/tables.py --check TOP    ends with 1 and says which page is not as the code is
"""
import os
import re
import sys

STRING = r'"(?:[^"\\]|\\.)*"'


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


def macro(text, name):
    """The argument lists of X(..) in a table, comments left out; strings as Python has them."""
    body = re.search(rf"#define {name}\(X\)((?:.*\\\n)*.*\n)", text).group(1)
    body = re.sub(r"/\*.*?\*/|\\\n", " ", body, flags=re.S)
    rows = re.findall(rf"X\(((?:{STRING}|[^()\"])*)\)", body)
    rows = [re.sub(r'(?<!\\)"\s+"', "", row) for row in rows]  # one string in two pieces
    return [[value(x) for x in re.findall(rf"{STRING}|[^,\s]+", row)] for row in rows]


def value(word):
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


def mdoc(text):
    """As text of a page: nothing in it is taken for a macro."""
    text = text.replace("\\", "\\e").replace('"', "\\(dq").replace("'", "\\(aq")
    return "\\&" + text if text[:1] in ".'" else text


def tagged(rows, width="SMTPD_DELIVER"):
    out = [f'.Bl -tag -width "{width}"']
    for tag, *lines in rows:
        out += [f".It {tag}", *lines]
    return out + [".El"]


def log_events(top):
    rows = macro(read(top, "common/log.h"), "LOG_TABLE")
    return tagged([(f"Sy {name.lower().replace('_', '-')} Pq {level.lower()}", mdoc(meaning) + ".") for name, level, meaning in rows])


def errors(top):
    rows = macro(read(top, "common/err.h"), "ERR_TABLE")
    out = []
    for name, imap, smtp, enhanced, pop3, level, text in rows:
        words = [f"SMTP {smtp} {enhanced}"]
        words += [f"IMAP [{imap}]"] if imap else []
        words += [f"POP3 [{pop3}]"] if pop3 else []
        out.append((f"Sy {name} Pq {level.lower()}", mdoc(text) + ".", ".br", "; ".join(words) + "."))
    return tagged(out)


USERS = {"AUTH": "postamt-auth", "MAIL": "postamt", "NET": "postamt-net", "QUEUE": "postamt-queue"}
MANY = {"ONE": "one", "FRONTS": "as many as the setting fronts says", "DELIVERS": "as many as the setting delivers says"}


def role_table(top):
    rows = macro(read(top, "common/wiring.h"), "ROLE_TABLE")
    return tagged([(f"Sy {name}", f"program {program}, user {USERS[user]}, {MANY[many]}"
                    + ("; holds the certificates\\(aq keys." if tls == "CERTIFICATES" else "."))
                   for _, name, program, user, tls, many in rows])


def channels(top):
    text = read(top, "common/wiring.h")
    names = {row[0]: row[1] for row in macro(text, "ROLE_TABLE")}
    return [".Bl -column imapd.spawner imapd.spawner"] + [
        f".It {names[a]} Ta {names[b]}" for a, b in macro(text, "WIRE_TABLE")] + [".El"]


def messages(top):
    out = []
    for name, fds, fields in macro(read(top, "common/ipc.h"), "IPC_TABLE"):
        fields = fields or "nothing"
        out.append((f"Sy {name}" + (f" Pq {fds} fd" if fds != "0" else ""), mdoc(fields) + "."))
    return tagged(out)


RIGHTS = {"LL_ALL": "read, write, make, link, rename, remove", "LL_MAIL": "read, make, link, rename, remove; never write into a file",
          "LL_ADD": "list, make, link; not read, write or remove", "LANDLOCK_ACCESS_FS_READ_DIR": "list"}
TREES = [("mail", "paths.mail"), ("state", "paths.state"), ("spool", "paths.spool"), ("auth", "paths.auth"), ("queue", "paths.queue")]


def sandbox(top):
    text = read(top, "common/sandbox.c")
    table = re.search(r"static const struct sandbox_row rows\[SANDBOX_COUNT\] = \{(.*?)\n\};", text, re.S).group(1)
    table = re.sub(r"/\*.*?\*/", "", table, flags=re.S)
    out = []
    for row in re.findall(r"\[\w+\] = \{(.*?)\}", table, re.S):
        fields = {k: " ".join(v.split()) for k, v in re.findall(r"\.(\w+)\s*=\s*([^,]+)", row)}
        lines = ["Calls: " + ", ".join(x.strip().removeprefix("CALLS_").lower() for x in fields.pop("calls").split("|")) + "."]
        name = value(fields.pop("name"))
        trees = [f".br\nBelow {setting}: {RIGHTS[fields.pop(tree)]}." for tree, setting in TREES if tree in fields]
        lines += "\n".join(trees).split("\n") if trees else [".br", "No folder."]
        if fields.pop("urandom", "") == "true":
            lines += [".br", "Reads", ".Pa /dev/urandom ."]
        if fields.pop("front", "") == "true":
            lines += [".br", "Open files and memory as", ".Va limits.connections", "needs them."]
        limits = [f"{fields.pop('nofile')} open files"] if "nofile" in fields else []
        limits += [f"{fields.pop('data').replace(' * MIB', ' MiB')} of memory"] if "data" in fields else []
        lines += [".br", "At most " + ", ".join(limits) + "."] if limits else []
        if fields:
            raise SystemExit(f"man/tables.py does not know what {', '.join(fields)} of the sandbox table means")
        out.append((f"Sy {name}", *lines))
    return tagged(out)


def call_groups(top):
    meanings = re.findall(r"#define CALLS_(\w+) \(1u << \d+\)\s*/\* (.*?) \*/", read(top, "common/sandbox_calls.h"))
    groups = dict(re.findall(r"\{CALLS_(\w+),\s*\{(.*?)\}\}", read(top, "common/sandbox_calls.c"), re.S))
    out = []
    for name, meaning in meanings:
        calls = sorted(re.findall(r"SCMP_SYS\((\w+)\)", groups[name]))
        out.append((f"Sy {name.lower()}", mdoc(meaning) + ":", " ".join(calls) + "."))
    return tagged(out, "threads")


TABLES = {"log": log_events, "errors": errors, "roles": role_table, "channels": channels, "messages": messages,
          "sandbox": sandbox, "calls": call_groups}


def renew(top, page):
    def table(m):
        return "\n".join([m.group(1), *TABLES[m.group(2)](top), m.group(3)])
    return re.sub(r'(?m)^(\.\\" table (\w+).*)$[\s\S]*?^(\.\\" end)$', table, page)


def main():
    check = sys.argv[1] == "--check"
    top = sys.argv[-1]
    old = []
    for name in sorted(os.listdir(os.path.join(top, "man"))):
        path = os.path.join("man", name)
        if not name[-1].isdigit():
            continue
        page = read(top, path)
        fresh = renew(top, page)
        if fresh == page:
            continue
        old.append(path)
        if not check:
            with open(os.path.join(top, path), "w", encoding="utf-8") as f:
                f.write(fresh)
    for path in old:
        print(f"{path}: not as the code is; run: man/tables.py ." if check else f"{path}: written anew")
    return 1 if old and check else 0


if __name__ == "__main__":
    sys.exit(main())
