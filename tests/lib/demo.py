#!/usr/bin/env python3
"""./bootstrap run: a post office in a throw-away folder; one mail in by submission, one by port 25, both shown.

--once: do it and end, 0 when all was as it should be, else 1.
"""
import email.message
import imaplib
import os
import poplib
import shutil
import signal
import smtplib
import ssl
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import instance  # noqa: E402


def message(sender, to, subject):
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = sender, to, subject
    m.set_content("This mail was written once, synced and linked into the mailbox before the server said 250.\n")
    return m


def send(info, user, password, tls):
    """One by submission with a login, one by port 25 without."""
    with smtplib.SMTP(info["host"], info["ports"]["submission"], timeout=20) as s:
        s.starttls(context=tls)
        s.login(user, password)
        s.send_message(message(user, user, "Through submission, with a login"))
    with smtplib.SMTP(info["host"], info["ports"]["smtp"], timeout=20) as s:
        s.send_message(message("somebody@elsewhere.test", user, "From the world, through port 25"))


def show_imap(info, user, password, tls):
    with imaplib.IMAP4_SSL(info["host"], info["ports"]["imaps"], ssl_context=tls, timeout=20) as m:
        m.login(user, password)
        m.select("INBOX", readonly=True)
        numbers = m.search(None, "ALL")[1][0].split()
        subjects = []
        for n in numbers:
            head = m.fetch(n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1]
            subjects.append(head.decode().strip().removeprefix("Subject: "))
        return subjects


def show_pop3(info, user, password, tls):
    p = poplib.POP3_SSL(info["host"], info["ports"]["pop3s"], context=tls, timeout=20)
    try:
        p.user(user)
        p.pass_(password)
        subjects = []
        for i in range(len(p.list()[1])):
            lines = p.top(i + 1, 0)[1]
            subjects += [x.decode()[9:] for x in lines if x.lower().startswith(b"subject: ")]
        return subjects
    finally:
        p.quit()


def tell(info, user, password):
    ports = info["ports"]
    print(f"""
postamt is running. A mail program connects like this (the certificate is self-made: accept it, or trust {info['ca_file']}):

  user name   {user}
  password    {password}
  IMAP        {info['host']} port {ports['imaps']} SSL/TLS   (or {ports['imap']} STARTTLS)
  POP3        {info['host']} port {ports['pop3s']} SSL/TLS   (or {ports['pop3']} STARTTLS)
  sending     {info['host']} port {ports['submissions']} SSL/TLS   (or {ports['submission']} STARTTLS)
  mail in     {info['host']} port {ports['smtp']}

  curl -k -u '{user}:{password}' 'imaps://{info['host']}:{ports['imaps']}/INBOX;MAILINDEX=1'
""", flush=True)


def main():
    once = sys.argv[1:] == ["--once"]
    if sys.argv[1:] and not once:
        print(__doc__, file=sys.stderr)
        return 64
    d = tempfile.mkdtemp(prefix="postamt-")
    os.chmod(d, 0o755)
    ok = False
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        print(f"starting all daemons in {d}", flush=True)
        info = instance.start(d, users=1)
        user, password = info["users"]["template"] % 0, info["users"]["password"]
        tls = ssl.create_default_context(cafile=info["ca_file"])
        tls.check_hostname = False  # it is made for mail.example.test, we come to 127.0.0.1
        send(info, user, password, tls)
        imap = show_imap(info, user, password, tls)
        pop3 = show_pop3(info, user, password, tls)
        print("INBOX by IMAP:", *imap, sep="\n  ")
        print("INBOX by POP3:", *pop3, sep="\n  ", flush=True)
        ok = len(imap) == 2 and sorted(imap) == sorted(pop3)
        if not ok:
            print("bootstrap: two mails were sent, but this is not what came out; the log says:", file=sys.stderr)
            print(instance.log_tail(d, 40), file=sys.stderr)
        if not once:
            tell(info, user, password)
            print("Ctrl-C stops it and removes the folder.", flush=True)
            while True:
                time.sleep(3600)
    except instance.InstanceError as e:
        print(f"bootstrap: {e}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
    finally:
        try:
            instance.stop(d)
        except instance.InstanceError:
            pass
        shutil.rmtree(d, ignore_errors=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
