#!/usr/bin/env python3
"""The installed Thunderbird, headless, against one instance: what a person with two computers does in a day.

Thunderbird's own code sets the accounts up, sends, waits in IDLE, flags, moves, deletes, searches; we only press the
buttons (tests/lib/marionette.py) and compare what it shows with what it should. In the end its log of the dialogue
must hold no BAD and no NO. Exit 77 without Thunderbird. Not part of `make check`: `make check-thunderbird`.
THUNDERBIRD_KEEP=DIR keeps profiles and logs there.
"""
import email
import email.header
import email.message
import imaplib
import os
import re
import shutil
import smtplib
import ssl
import sys
import tempfile
import time

import instance
import marionette

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "localhost"  # is in the certificate
SAID = re.compile(r":localhost:[^:]*:(SendData|CreateNewLineFromSocket): (.*)")
REFUSED = re.compile(r"(\w+ BAD|\w+ NO|\* BAD|\* NO|\* BYE) ")


class Failed(Exception):
    pass


def expect(what, got, wanted):
    if got != wanted:
        raise Failed(f"{what}\n  got    {got!r}\n  wanted {wanted!r}")


class Day:
    """The server, the two computers and the steps on them."""

    def __init__(self, folder):
        self.folder = folder
        self.info = instance.start(os.path.join(folder, "server"), users=3, hash_scheme="sha512crypt")
        self.ports = self.info["ports"]
        with open(self.info["ca_file"]) as f:
            self.pem = f.read()
        with open(os.path.join(HERE, "..", "lib", "thunderbird.js"), encoding="utf-8") as f:
            self.library = f.read()
        self.desk = self.computer("desk")
        self.laptop = self.computer("laptop", {  # as an older one, with names in modified UTF-7
            "mail.server.default.autosync_offline_stores": False, "mail.server.default.allow_utf8_accept": False})
        self.pop = self.computer("pop")

    def computer(self, name, prefs=None):
        return marionette.Thunderbird(os.path.join(self.folder, name), self.library, prefs)

    def end(self):
        for tb in (self.desk, self.laptop, self.pop):
            tb.quit()
        instance.stop(os.path.join(self.folder, "server"))

    def address(self, n):
        return self.info["users"]["template"] % n

    def set_up(self, tb, user, kind, tls, port, smtp_port):
        tb.start()
        tb.run("await trust(pem, host, ports)", pem=self.pem, host=NAME, ports=list(self.ports.values()))
        return tb.run("return setUp(given)", type=kind, host=NAME, port=self.ports[port], tls=tls,
                      smtpPort=self.ports[smtp_port], address=self.address(user), password=self.info["users"]["password"])

    def mail_in(self, subject, body, to=0):
        """From the world, by port 25."""
        m = email.message.EmailMessage()
        m["From"], m["To"], m["Subject"] = "Ärzte Büro <somebody@elsewhere.test>", self.address(to), subject
        m["Date"], m["Message-ID"] = "Mon, 5 Jan 2026 12:00:00 +0100", f"<{abs(hash(subject))}@elsewhere.test>"
        m.set_content(body)
        with smtplib.SMTP(self.info["host"], self.ports["smtp"], timeout=20) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.send_message(m)

    # --- the steps, in this order; the docstring is what is printed

    def step_account(self):
        """IMAP by TLS: settings verified by a login, account made, special-use folders recognised"""
        expect("kind of login (3: password)", self.set_up(self.desk, 0, "imap", "SSL", "imaps", "submissions"), 3)
        got = self.desk.run("""
            await open("INBOX");
            await until("all six folders", () => folders().length == 6);
            return folders().map(f => [f[0], f[1]]).sort();""")
        expect("folders", got, [["Archive", ["Archive"]], ["Drafts", ["Drafts"]], ["INBOX", ["Inbox"]], ["Junk", ["Junk"]],
                                ["Sent", ["SentMail"]], ["Trash", ["Trash"]]])

    def step_send(self):
        """sends to itself and a colleague; a copy goes to Sent, the mail comes by IDLE, its text is right"""
        got = self.desk.run("""
            await send({ to, subject: "Grüße aus Köln", body: "Schöne Grüße\\n.\\n..zwei Punkte\\nEnde\\n" });
            const inbox = folder("INBOX");
            await until("own mail in INBOX", () => head(inbox, "Grüße aus Köln"));
            const sent = await open("Sent");
            await until("copy in Sent", () => head(sent, "Grüße aus Köln"));
            return [await text(head(inbox, "Grüße aus Köln")), head(sent, "Grüße aus Köln").isRead,
                    head(inbox, "Grüße aus Köln").isRead];""", to=[self.address(0), self.address(1)])
        text = got[0].encode("latin-1").decode().replace("\r\n", "\n")
        expect("text", text.partition("\n\n")[2].strip(), "Schöne Grüße\n.\n..zwei Punkte\nEnde")
        expect("read: Sent, INBOX", got[1:], [True, False])

    def step_big(self):
        """a 3 MB attachment there and back, octet by octet"""
        data = os.urandom(3000000)
        path = os.path.join(self.folder, "attachment")
        with open(path, "wb") as f:
            f.write(data)
        got = self.desk.run("""
            await send({ to, subject: "Groß", body: "mit Anhang", attach: path });
            const h = await until("it in INBOX", () => head(folder("INBOX"), "Groß"), 40);
            return text(h);""", to=[self.address(0)], path=path)
        m = email.message_from_bytes(got.partition("\r\n\r\n")[0].encode("latin-1") + b"\r\n\r\n" +
                                     got.partition("\r\n\r\n")[2].encode("latin-1"))
        parts = [p.get_payload(decode=True) for p in m.walk() if p.get_filename()]
        expect("attachment is the same", parts == [data], True)

    def step_push(self):
        """a mail from outside appears by IDLE alone, how soon"""
        self.desk.run("await open('INBOX'); await sleep(3000);")  # it goes idle 2 s after the last
        times = []
        for n in range(3):
            t = time.monotonic()
            self.mail_in(f"Eilig {n}", "Von draußen\n")
            self.desk.run("await until('the mail', () => head(folder('INBOX'), subject), 5)", subject=f"Eilig {n}")
            times.append(time.monotonic() - t)
            time.sleep(2.5)
        return "%.2f s" % max(times)

    def step_burst(self):
        """ten mails while it is busy fetching the first ones: all appear by IDLE"""
        for n in range(10):
            self.mail_in(f"Stoß {n}", "noch einer\n")
        self.desk.run("""
            await until("ten", () => headers(folder("INBOX")).filter(h => h.mime2DecodedSubject.startsWith("Stoß")).length == 10);
            await copied("delete", l => folder("INBOX").deleteMessages(headers(folder("INBOX")).filter(h =>
                h.mime2DecodedSubject.startsWith("Stoß")), null, true, false, l, false));
            await url("compact", l => folder("INBOX").compact(l, null));""")

    def step_flags(self):
        """star, read, tags, answered, junk: kept at the server"""
        self.desk.run("""
            const f = folder("INBOX").QueryInterface(Ci.nsIMsgImapMailFolder);
            f.markMessagesFlagged([head(f, "Eilig 0")], true);
            f.markMessagesRead([head(f, "Eilig 0"), head(f, "Eilig 1")], true);
            f.addKeywordsToMessages([head(f, "Eilig 0")], "$label1");
            f.addKeywordsToMessages([head(f, "Eilig 0")], "wichtig");
            f.addMessageDispositionState(head(f, "Eilig 1"), Ci.nsIMsgFolder.nsMsgDispositionState_Replied);
            f.addMessageDispositionState(head(f, "Eilig 1"), Ci.nsIMsgFolder.nsMsgDispositionState_Forwarded);
            f.storeCustomKeywords(null, "Junk", "NonJunk", [head(f, "Eilig 2").messageKey]);
            await open("INBOX"); await sleep(500);""")
        flags = self.flags("INBOX")
        expect("Eilig 0", flags["Eilig 0"], {"\\Flagged", "\\Seen", "$label1", "wichtig"})
        expect("Eilig 1", flags["Eilig 1"], {"\\Answered", "\\Seen", "$forwarded"})
        expect("Eilig 2", flags["Eilig 2"], {"junk"})

    def step_second(self):
        """a second computer, STARTTLS, without UTF8=ACCEPT: sees the same folders, mails, stars and tags"""
        expect("kind of login", self.set_up(self.laptop, 0, "imap", "alwaysSTARTTLS", "imap", "submission"), 3)
        look = """
            await open("INBOX");
            await until("folders", () => folders().length == 6);
            await open("Sent");
            const show = p => headers(folder(p)).map(h => [h.mime2DecodedSubject, h.isFlagged, h.isRead, h.messageKey,
                h.getStringProperty("keywords").split(" ").filter(k => k && !/junk/i.test(k)).sort().join(" "),
                h.messageSize]).sort();
            return [folders().map(f => [f[0], f[1]]).sort(), show("INBOX"), show("Sent")];"""
        expect("both computers", self.laptop.run(look), self.desk.run(look))

    def step_both(self):
        """what one computer does the other sees in IDLE: star, read, tag, delete"""
        for tb in (self.desk, self.laptop):
            tb.run("await open('INBOX'); await sleep(3000);")
        self.laptop.run("""
            const f = folder("INBOX");
            f.markMessagesFlagged([head(f, "Eilig 2")], true);
            f.markMessagesRead([head(f, "Eilig 0")], false);
            f.addKeywordsToMessages([head(f, "Eilig 2")], "$label3");""")
        self.desk.run("""
            const f = folder("INBOX");
            await until("the star", () => head(f, "Eilig 2").isFlagged, 8);
            await until("unread", () => !head(f, "Eilig 0").isRead, 8);
            await until("the tag", () => head(f, "Eilig 2").getStringProperty("keywords").includes("$label3"), 8);""")
        self.mail_in("Kurzlebig", "weg damit\n")
        self.desk.run("await until('it', () => head(folder('INBOX'), 'Kurzlebig'), 8)")
        self.laptop.run("""
            const f = folder("INBOX");
            const h = await until("it", () => head(f, "Kurzlebig"), 8);
            await copied("delete", l => f.deleteMessages([h], null, true, false, l, false));
            await url("compact", l => f.compact(l, null));""")
        self.desk.run("await until('it is gone', () => !head(folder('INBOX'), 'Kurzlebig'), 8)")

    def step_folders(self):
        """folders with umlauts made, nested, renamed, deleted; the other computer finds them"""
        got = self.desk.run("""
            const root = server("imap").rootFolder;
            root.createSubfolder("Entwürfe & Pläne", null);
            await until("made", () => folder("Entwürfe & Pläne"));
            folder("Entwürfe & Pläne").createSubfolder("Größe (日本)", null);
            await until("made below", () => folder("Entwürfe & Pläne/Größe (日本)"));
            folder("Entwürfe & Pläne").rename("Übersicht", null);
            await until("renamed", () => folder("Übersicht/Größe (日本)"));
            root.createSubfolder("Weg", null);
            await until("made", () => folder("Weg"));
""")
        self.desk.run("folder('Weg').deleteSelf(null)")  # it asks; the question is answered with yes
        got = self.desk.run("""
            await until("in Trash", () => folder("Trash/Weg"));
            return folders().map(f => f[0]).sort();""")
        expect("folders", got, sorted(["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "Trash/Weg", "Übersicht",
                                       "Übersicht/Größe (日本)"]))
        self.laptop.run("""
            server("imap").rootFolder.QueryInterface(Ci.nsIMsgImapMailFolder);
            MailServices.imap.discoverAllFolders(server("imap").rootFolder, { QueryInterface: ChromeUtils.generateQI([
                "nsIUrlListener"]), OnStartRunningUrl() {}, OnStopRunningUrl() {} }, null);
            await until("the new folders", () => folder("Übersicht/Größe (日本)") && folder("Trash/Weg"));""")

    def step_move(self):
        """moved and copied into a folder with an umlaut; flags and tags go along"""
        got = self.desk.run("""
            const from = folder("INBOX"), to = folder("Übersicht");
            const move = (s, isMove) => copied("copy", l => MailServices.copy.copyMessages(from, [head(from, s)], to, isMove,
                                                                                       l, null, true));
            await move("Eilig 0", true);
            await move("Eilig 1", false);
            await open("Übersicht"); await open("INBOX");
            await until("both there", () => head(to, "Eilig 0") && head(to, "Eilig 1"));
            return [!head(from, "Eilig 0"), !!head(from, "Eilig 1"), head(to, "Eilig 0").isFlagged,
                    head(to, "Eilig 0").getStringProperty("keywords").includes("wichtig"), head(to, "Eilig 1").isRead];""")
        expect("gone, still there, star, tag, read", got, [True] * 5)
        self.laptop.run("""
            await open("INBOX"); await open("Übersicht");
            await until("moved", () => head(folder("Übersicht"), "Eilig 0") && !head(folder("INBOX"), "Eilig 0"));""")

    def step_drafts(self):
        """a draft saved and found again; a mail archived"""
        self.desk.run("""
            await send({ to, subject: "Unfertig ñ", body: "erster Satz", draft: true });
            const f = await open("Drafts");
            await until("the draft", () => head(f, "Unfertig ñ"));
            const { MessageArchiver } = ChromeUtils.importESModule("resource:///modules/MessageArchiver.sys.mjs");
            const inbox = folder("INBOX");
            const one = head(inbox, "Eilig 1");
            const done = new Promise(ok => {
                const archiver = new MessageArchiver();
                archiver.oncomplete = ok;
                archiver.archiveMessages([one]);
            });
            await done;
            await until("it in the archive", async () => {
                const to = folder("Archives/2026") || folder("Archive/2026");
                if (to) {
                    await url("open", l => to.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, l));
                }
                return to && head(to, "Eilig 1");
            });""", to=[self.address(1)])
        got = self.desk.run("return folders().map(f => f[0]).filter(f => f.startsWith('Archive')).sort()")
        expect("where the archive is", got, ["Archive", "Archive/2026"])

    def step_search(self):
        """searches at the server: subject, sender, body, date, size, status, together, with umlauts"""
        self.mail_in("Straßenbau in Zürich", "Die Brücke über die Spree\n")
        self.mail_in("Nichts", "gar nichts (\"mit\" \\ Zeichen)\n")
        self.desk.run("await until('both', () => head(folder('INBOX'), 'Nichts') && head(folder('INBOX'), 'Straßenbau in Zürich'))")
        for terms, wanted in [
                ([["Subject", "Contains", "zürich"]], ["Straßenbau in Zürich"]),
                ([["Body", "Contains", "BRÜCKE"]], ["Straßenbau in Zürich"]),
                ([["Body", "Contains", "(\"mit\" \\"]], ["Nichts"]),
                ([["Sender", "Contains", "Ärzte"]], ["Eilig 2", "Nichts", "Straßenbau in Zürich"]),
                ([["Subject", "DoesntContain", "i"], ["Size", "IsLessThan", 1000]], ["Grüße aus Köln"]),
                ([["Size", "IsGreaterThan", 2000]], ["Groß"]),
                ([["MsgStatus", "Is", 4]], ["Eilig 2"]),
                ([["To", "Contains", "nobody"]], [])]:
            got = self.desk.run("return search(folder('INBOX'), terms)", terms=terms)
            expect(f"search {terms}", got, sorted(wanted))

    def step_delete(self):
        """delete goes to Trash, emptying Trash expunges, also the folder in it; compact"""
        self.desk.run("""
            const inbox = folder("INBOX"), trash = folder("Trash");
            for (const s of ["Groß", "Eilig 2"]) {
                const h = await until(s, () => head(inbox, s));
                await copied("delete", l => inbox.deleteMessages([h], null, false, false, l, false));
            }
            await open("Trash");
            await until("in Trash", () => head(trash, "Groß") && head(trash, "Eilig 2") && !head(inbox, "Groß"));
            await url("empty Trash", l => trash.emptyTrash(l));
            await open("Trash");
            await until("Trash is empty", () => headers(trash).length == 0 && !folder("Trash/Weg"));
            await url("compact", l => inbox.compact(l, null));""")
        self.laptop.run("await open('INBOX'); await until('gone', () => !head(folder('INBOX'), 'Groß'));")
        expect("Trash at the server", self.flags("Trash"), {})

    def step_restart(self):
        """closed and opened again: nothing is downloaded twice"""
        look = """
            await open("INBOX"); await open("Übersicht");
            return ["INBOX", "Übersicht"].map(p => headers(folder(p)).map(h => [h.mime2DecodedSubject, h.messageKey,
                h.isRead, h.isFlagged]).sort());"""
        before = self.desk.run(look)
        self.desk.quit()
        self.mail_in("Über Nacht", "gekommen\n")
        self.desk.start()
        self.desk.run("await open('INBOX'); await until('it', () => head(folder('INBOX'), 'Über Nacht'));")
        after = self.desk.run(look)
        after[0] = [x for x in after[0] if x[0] != "Über Nacht"]
        expect("the same after a restart", after, before)
        fetched = [c for _, c in self.dialogue(self.desk, -1) if re.search(r"UID fetch .*FLAGS BODY.PEEK\[HEADER", c)]
        expect("one mail's header was fetched", len(fetched), 1)

    def step_pop3(self):
        """POP3 by TLS, mails taken and deleted at the server; sends an answer"""
        self.mail_in("Für POP", "Zeile\n.\n..\nEnde\n", to=1)
        self.set_up(self.pop, 1, "pop3", "SSL", "pop3s", "submissions")
        got = self.pop.run("""
            const s = server("pop3");
            s.setBoolValue("leave_on_server", false);
            await url("get mail", l => MailServices.pop3.GetNewMail(null, l, s.rootFolder.getChildNamed("Inbox"), s));
            const inbox = folder("Inbox", s);
            await until("two mails", () => headers(inbox).length == 2);
            await send({ to, subject: "Antwort", body: "zurück" });
            return [headers(inbox).map(h => h.mime2DecodedSubject).sort(), await text(head(inbox, "Für POP"))];""",
                           to=[self.address(0)])
        expect("taken", got[0], ["Für POP", "Grüße aus Köln"])
        body = got[1].replace("\r\n", "\n").partition("\n\n")[2].strip()
        expect("text", body, "Zeile\n.\n..\nEnde")
        expect("left at the server", self.flags("INBOX", 1), {})
        self.desk.run("await until('the answer', () => head(folder('INBOX'), 'Antwort'), 8)")

    def step_pop3_leave(self):
        """POP3, mails left at the server: taken once only, deleted there when deleted here; sends by STARTTLS"""
        self.pop.quit()
        self.pop = self.computer("pop2")
        self.set_up(self.pop, 2, "pop3", "alwaysSTARTTLS", "pop3", "submission")
        for n in range(3):
            self.mail_in(f"Bleibt {n}", "hier\n", to=2)
        get = """
            const s = server("pop3"), inbox = folder("Inbox", s);
            const get = () => url("get mail", l => MailServices.pop3.GetNewMail(null, l, inbox, s));
            await get(); await sleep(300);"""
        self.pop.run(get + "await until('three', () => headers(inbox).length == 3);")
        expect("still three", self.pop.run(get + "return headers(inbox).length;"), 3)
        expect("at the server", sorted(self.flags("INBOX", 2)), ["Bleibt 0", "Bleibt 1", "Bleibt 2"])
        self.pop.run(get + """
            await copied("delete", l => inbox.deleteMessages([head(inbox, "Bleibt 1")], null, true, false, l, false));
            await get(); await sleep(300);""")
        expect("at the server", sorted(self.flags("INBOX", 2)), ["Bleibt 0", "Bleibt 2"])
        self.pop.run("await send({ to, subject: 'Per STARTTLS', body: 'geht' })", to=[self.address(0)])
        self.desk.run("await until('it', () => head(folder('INBOX'), 'Per STARTTLS'), 8)")

    def step_dialogue(self):
        """no BAD, no NO in all those dialogues, no warning in the server's log"""
        self.end()
        bad, lines = [], 0
        for tb in (self.desk, self.laptop):
            for n in range(len(tb.dialogue_files())):
                said = [line for side, line in self.dialogue(tb, n) if side == "S"]
                lines += len(said)
                bad += [line for line in said if REFUSED.match(line)]
        for tb in (self.desk, self.laptop, self.pop):
            with open(os.path.join(tb.folder, "out"), errors="replace") as f:
                bad += [x.strip() for x in f if re.search(r"(smtp|pop3)\S*: .*(\b[45]\d\d [45]\.\d\.\d|-ERR)", x)]
        with open(os.path.join(self.folder, "server", "log"), errors="replace") as f:
            bad += [line.strip() for line in f if re.search(r"\] (warn|error) ", line)]
        expect("the dialogue is recorded", lines > 300, True)
        expect("complaints", bad, [])

    # --- how it is checked

    def flags(self, mailbox, user=0):
        """{subject: flags but \\Recent} as another client sees it."""
        with imaplib.IMAP4(self.info["host"], self.ports["imap_plain"]) as m:
            m.login(self.address(user), self.info["users"]["password"])
            m.select(mailbox, readonly=True)
            out = {}
            for n in m.search(None, "ALL")[1][0].split():
                item = m.fetch(n, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0]
                flags = re.search(rb"FLAGS \(([^)]*)\)", item[0]).group(1).decode().split()
                raw = email.message_from_bytes(item[1])["Subject"]
                subject = str(email.header.make_header(email.header.decode_header(raw)))
                out[subject] = {f if f[0] == "\\" or f == "wichtig" else f.lower() for f in flags} - {"\\Recent"}
            return out

    def dialogue(self, tb, n):
        """[("C" or "S", line)] of its n-th run's IMAP log."""
        out = []
        with open(tb.dialogue_files()[n], errors="replace") as f:
            for line in f:
                m = SAID.search(line)
                if m:
                    out.append(("C" if m[1] == "SendData" else "S", m[2].rstrip()))
        return out


def main():
    version = marionette.installed()
    if version is None:
        print("skipped: thunderbird is not installed (apt-get install thunderbird)")
        return 77
    print(version, flush=True)
    keep = os.environ.get("THUNDERBIRD_KEEP")
    folder = keep or tempfile.mkdtemp(prefix="postamt-tb-")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)
    day, failed = None, 0
    try:
        day = Day(folder)
        for name in [x for x in vars(Day) if x.startswith("step_")]:
            step = getattr(day, name)
            t = time.monotonic()
            try:
                more = step()
                print(f"ok      {step.__doc__}{': ' + more if more else ''} ({time.monotonic() - t:.1f} s)", flush=True)
            except (Failed, marionette.MarionetteError, OSError, AttributeError) as e:
                failed += 1
                print(f"FAILED  {step.__doc__}\n  {e}", flush=True)
                if day.desk.connection is None:
                    break
    finally:
        if day is not None:
            day.end()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
