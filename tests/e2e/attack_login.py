#!/usr/bin/env python3
"""A01, A02: what guessing passwords gains and what it tells; whose password is remembered for whom. --long: 1,000 tries a kind."""
import base64
import select
import smtplib
import sys
import time

import office
import raw

LONG = "--long" in sys.argv and not sys.argv.remove("--long")
TRIES = 1000 if LONG else 45
AT_ONCE = 60 if LONG else 30
DELAY = 2.0


def one_round(o, number):
    """Connections that try by turns a user who is there and one who is not, three tries each; seconds by kind, and the texts."""
    there, nobody = o.user(0), "nobody-here@" + o.info["domain"]
    conns, times, said = [], ([], []), [set(), set()]
    for _ in range(AT_ONCE):
        c = raw.Raw(o, "imap_plain")
        c.until(r"\* OK .*")
        conns.append(c)
    for i in range(3):
        began = {}
        for k, c in enumerate(conns):
            kind = (k + i) % 2
            began[c.s] = (time.monotonic(), kind, c)
            c.say(f"a LOGIN {(there, nobody)[kind]} guess-{number}-{i}-{k}")
            time.sleep(0.012)  # one at a time: what is asked here is what each costs, not how they queue
        while began:
            for s in select.select(list(began), [], [], 10)[0]:
                at, kind, c = began.pop(s)
                took = time.monotonic() - at
                times[kind].append(took)
                said[kind].add(c.line())
    for c in conns:
        assert [x[:5] for x in c.rest()] == ["* BYE"], "after three wrong passwords the connection ends"
        c.close()
    return times, said


def user_there_or_not(o):
    """A01: the same words, after the same time: 2 s and no less."""
    for attempt in range(3):  # without any difference one in a hundred runs is below 0.01
        times = ([], [])
        number = 0
        while len(times[0]) < TRIES:
            more, said = one_round(o, number)
            number += 1
            for kind in (0, 1):
                times[kind].extend(more[kind])
            assert said[0] == said[1] and len(said[0]) == 1, said
        p = raw.rank_sum_p(*times)
        medians = [sorted(t)[len(t) // 2] for t in times]
        print(f"     {len(times[0])} tries each: medians {medians[0]:.5f} and {medians[1]:.5f} s, shortest {min(times[0] + times[1]):.5f} s, "
              f"p = {p:.3f}")
        assert min(times[0] + times[1]) >= DELAY - 0.05  # a timer counts from when its loop last looked at the clock
        assert max(medians) < DELAY + 0.5, medians
        if p > 0.01:
            return
    raise AssertionError("the time tells which users there are")


class Login:
    """The same question by each protocol: is this the password of that user? Answers after the 2 s where it is not."""

    def __init__(self, o, service, user, password):
        self.kind, self.began = service.split("_")[0].rstrip("s"), time.monotonic()
        self.c = raw.Raw(o, service, tls=service == "submissions")
        self.c.line()
        if self.kind == "imap":
            self.c.say(f"a LOGIN {user} {password}")
        elif self.kind == "pop3":
            self.c.ask(f"USER {user}", r"\+OK.*")
            self.c.say(f"PASS {password}")
        else:
            self.c.ask("EHLO client.test", "250 .*")
            self.c.say("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())

    def result(self):
        answer = self.c.until({"imap": "a .*", "pop3": r"[-+].*", "submission": r"\d\d\d .*"}[self.kind])
        good = answer.startswith(("a OK", "+OK", "235"))
        assert good or answer.startswith(("a NO [AUTHENTICATIONFAILED]", "-ERR [AUTH]", "535 5.7.8")), answer
        took = time.monotonic() - self.began
        assert good or took >= DELAY - 0.05, f"refused after {took} s"
        return good

    def mailbox(self):
        """The subject of the first message: whose is it?"""
        if self.kind == "imap":
            self.c.ask("s SELECT INBOX", "s OK .*")
            self.c.say("f FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        else:
            self.c.say("RETR 1")
        return self.c.until("Subject: .*")


def check(o, rows):
    """(service, user, password, right?), all begun in this order and close together."""
    began = []
    for row in rows:
        began.append(Login(o, *row[:3]))
        if row[3]:
            assert began[-1].result(), row  # it is remembered before the next begins
    for row, login in zip(rows, began):
        if not row[3]:
            assert not login.result(), f"let in: {row}"
    return began


SERVICES = ("imap_plain", "pop3_plain", "submissions")


def remembered_for_whom(o):
    """A02: two users with the same password, one with another; right ones, and right after them wrong ones."""
    a, b, c = (o.user(n) for n in (0, 1, 2))
    o.cli("password", "set", c, stdin="Ganz-anders-0815\n")
    for n in range(3):
        o.deliver(office.message(f"for u{n}"), n)
    rows = [
        (a, o.password, True), (b, o.password, True), (a, o.password, True), (c, o.password, False),
        (c, "Ganz-anders-0815", True), (a, "Ganz-anders-0815", False), (b, "Ganz-anders-0815", False),
        ("nobody@" + o.info["domain"], o.password, False), (a, o.password + "x", False), (a, o.password[:-1], False),
        (a, o.password.lower(), False)]
    logins = check(o, [(service, *row) for service in SERVICES for row in rows])
    for i, service in enumerate(SERVICES[:2]):
        of_service = logins[i * len(rows):]
        assert [of_service[k].mailbox() for k in (0, 1, 4)] == ["Subject: for u0", "Subject: for u1", "Subject: for u2"]
    for x in logins:
        x.c.close()


def submission_is_his(o):
    """Who logged in second may write as himself and not as the first."""
    for n, other in ((0, 1), (1, 0)):
        with o.smtp("submissions", n) as s:
            s.sendmail(o.user(n), [o.user(2)], office.message(f"u{n} as himself", sender=o.user(n)))
            try:
                s.sendmail(o.user(other), [o.user(2)], office.message(f"u{n} as u{other}"))
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as e:
                assert getattr(e, "smtp_code", 553) // 100 == 5, e
            else:
                raise AssertionError(f"u{n} wrote as u{other}")


def changed_password(o):
    """A new password, a suspended account: what was remembered is worth nothing in the same moment."""
    a = o.user(0)
    for service in SERVICES:
        check(o, [(service, a, o.password, True)])
    o.cli("password", "set", a, stdin="Neues-Passwort-1\n")
    check(o, [(s, a, o.password, False) for s in SERVICES] + [(s, a, "Neues-Passwort-1", True) for s in SERVICES])
    o.cli("account", "suspend", a)
    check(o, [(s, a, "Neues-Passwort-1", False) for s in SERVICES])
    o.cli("account", "resume", a)
    check(o, [(s, a, "Neues-Passwort-1", True) for s in SERVICES])
    o.cli("password", "set", a, stdin=o.password + "\n")


if __name__ == "__main__":
    sys.exit(office.main([user_there_or_not, remembered_for_whom, submission_is_his, changed_password], users=3))
