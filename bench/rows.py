"""The rows of bench.py: what is measured, what is aimed at, and what to say of a figure."""
from dataclasses import dataclass, field

# Who is whose: the load's accounts are not the idle connections', so that these find small mailboxes.
IDLERS = 0                                   # 500 accounts
BIG, BIG_MESSAGES = 500, 2000                # the mailbox of the FETCH rows
MIXED, MIXED_USERS, MIXED_MESSAGES = 510, 20, 100
LOGINS, LOGIN_USERS = 530, 50
INBOUND, INBOUND_USERS = 580, 100
APPENDS, APPEND_USERS = 680, 10
USERS = 690

WHOSE = {"smtp": (INBOUND, INBOUND_USERS), "login": (LOGINS, LOGIN_USERS), "session": (MIXED, MIXED_USERS),
         "pop3": (LOGINS, LOGIN_USERS), "mixed": (MIXED, MIXED_USERS), "append": (APPENDS, APPEND_USERS)}

CPU, RATE = "CPU us", "per s"


@dataclass
class Row:
    """One load. ops: the most in one sample. weight: messages one operation stands for. aims: metric -> figure."""
    name: str
    port: str
    mode: str
    ops: int
    extra: list = field(default_factory=list)
    aims: dict = field(default_factory=dict)
    weight: int = 1
    at_first: int = 20  # operations of the trial that tells how many a sample has


TEN = ["--conns=10"]
ROWS = [
    Row("mail in 4 KiB, 1 session", "smtp", "smtp", 1500, ["--conns=1"], {CPU: 400}),
    Row("mail in 4 KiB, 10 sessions", "smtp", "smtp", 3000, TEN, {CPU: 400, RATE: 2000}, at_first=50),
    Row("mail in 4 KiB, 50 sessions", "smtp", "smtp", 3000, ["--conns=50"], {CPU: 400, RATE: 2000}, at_first=100),
    Row("mail in 4 KiB, 10, a connection each", "smtp", "smtp", 2000, [*TEN, "--per-session=1"]),
    Row("mail in 4 KiB to 10 recipients", "smtp", "smtp", 500, ["--conns=10", "--rcpts=10"]),
    Row("mail in 100 KiB, 10 sessions", "smtp", "smtp", 800, [*TEN, "--size=102400"], {RATE: 1200}),
    Row("IMAP login, 10 clients", "imap_plain", "login", 3000, TEN, {RATE: 2500}),
    Row("IMAP login, 10 clients, TLS", "imaps", "login", 1000, [*TEN, "--tls"], {RATE: 700}),
    Row("IMAP login and SELECT, 10 clients", "imap_plain", "session", 2000, TEN, {CPU: 1500}),
    Row("POP3 login and STAT, 10 clients", "pop3_plain", "pop3", 3000, TEN, {RATE: 2500}),
    Row("POP3 login and STAT, 10 clients, TLS", "pop3s", "pop3", 1000, [*TEN, "--tls"], {RATE: 700}),
    Row("IMAP mixed, with logouts", "imap_plain", "mixed", 8000, [*TEN, "--per-session=8"], {CPU: 200}, at_first=100),
    Row("IMAP mixed, staying", "imap_plain", "mixed", 12000, TEN, {CPU: 120}, at_first=400),
    Row("IMAP mixed, staying, TLS", "imaps", "mixed", 12000, [*TEN, "--tls"], {}, at_first=400),
    Row("IMAP NOOP", "imap_plain", "noop", 30000, [], {}, at_first=500),
    Row("APPEND 4 KiB, 1 client", "imap_plain", "append", 1500, [], {CPU: 350, RATE: 1200}),
    Row("APPEND 4 KiB, 10 clients", "imap_plain", "append", 4000, TEN, {CPU: 350, RATE: 4000}, at_first=50),
    Row("STORE one at a time", "imap_plain", "store", 10000, [], {RATE: 6000}, at_first=200),
    Row("FETCH 4 KiB one at a time", "imap_plain", "fetch-one", 20000, [], {CPU: 45}, at_first=500),
    Row("FETCH 4 KiB one at a time, TLS", "imaps", "fetch-one", 10000, ["--tls"], {CPU: 80}, at_first=500),
    Row("FETCH 4 KiB in one command", "imap_plain", "fetch-bulk", 30, [], {CPU: 9}, BIG_MESSAGES, 2),
    Row("FETCH 4 KiB in one command, TLS", "imaps", "fetch-bulk", 30, ["--tls"], {CPU: 14}, BIG_MESSAGES, 2),
    Row("FETCH FLAGS of all", "imap_plain", "fetch-flags", 500, [], {CPU: 0.25}, BIG_MESSAGES, 20),
    Row("FETCH ENVELOPE of all, warm", "imap_plain", "fetch-envelope", 60, [], {CPU: 1.5}, BIG_MESSAGES, 4),
    Row("POP3 RETR 4 KiB one at a time", "pop3_plain", "retr", 15000, [], {RATE: 10000}, at_first=500),
]

# No server: create, fdatasync, link, fsync, unlink of 4 KiB, one after the other. In the column of ours.
DISK_ROW = "mail in: the disk alone"

# name, connections, of one user, KiB aimed at
IDLE_ROWS = [("idle IMAPS, 500, 20 per user", 500, 20, 30), ("idle IMAPS, 500, one per user", 500, 1, 200)]

# name, recipients, syncs aimed at
SYNC_ROWS = [("syncs for a mail to 1", 1, 2), ("syncs for a mail to 10", 10, 11)]


def verdict(ours, others, aim, more_is_better):
    """In words: how far from the aim, how far from the best of the others. Below 1.5x nothing is believed of wall time."""
    words = []
    if ours is None:
        return "not measured"
    if aim is not None:
        times = aim / ours if more_is_better else ours / aim
        words.append("reached" if times <= 1.0 else f"{times:.1f}x off" if times <= 2.0 else f"MISSED {times:.1f}x")
    if others:
        best = max(others) if more_is_better else min(others)
        low = min(ours, best)
        times = (ours / best if more_is_better else best / ours) if low > 0 else 0.0
        if low > 0:
            words.append(f"{times:.1f}x better" if times >= 1.0 else f"{1 / times:.1f}x WORSE than a peer")
    return ", ".join(words)
