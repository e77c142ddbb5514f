/* What tests/e2e/thunderbird.py has Thunderbird do, by the same internal calls that its windows make. Precedes each script. */
const Cc = Components.classes, Ci = Components.interfaces, Cr = Components.results;
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout, clearTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");

const sleep = ms => new Promise(done => setTimeout(done, ms));

/* Waits until test() gives something; the last of it, or an error that names what. */
async function until(what, test, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const got = await test();
    if (got) {
      return got;
    }
    if (Date.now() > end) {
      throw new Error(`after ${seconds} s still not: ${what}`);
    }
    await sleep(50);
  }
}

/* run(listener) starts something that ends in OnStopRunningUrl. */
function url(what, run, seconds = 30) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${what}: no end after ${seconds} s`)), seconds * 1000);
    run({
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
      OnStartRunningUrl() {},
      OnStopRunningUrl(_url, status) {
        clearTimeout(timer);
        Components.isSuccessCode(status) ? done() : fail(new Error(`${what}: status 0x${status.toString(16)}`));
      },
    });
  });
}

/* The same for what ends in nsIMsgCopyServiceListener.onStopCopy. */
function copied(what, run, seconds = 30) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${what}: no end after ${seconds} s`)), seconds * 1000);
    run({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId: () => null,
      onStopCopy(status) {
        clearTimeout(timer);
        Components.isSuccessCode(status) ? done() : fail(new Error(`${what}: status 0x${status.toString(16)}`));
      },
    });
  });
}

const servers = () => MailServices.accounts.allServers.filter(s => s.type == "imap" || s.type == "pop3");
const server = type => servers().find(s => s.type == type);

/* By path below the account: "INBOX", "Entwürfe/2024". */
function folder(path, of = server("imap")) {
  let at = of.rootFolder;
  for (const part of path.split("/")) {
    at = at.subFolders.find(f => f.name == part || (part == "INBOX" && f.getFlag(Ci.nsMsgFolderFlags.Inbox)));
    if (!at) {
      return null;
    }
  }
  return at;
}

function headers(f) {
  return [...f.msgDatabase.enumerateMessages()];
}

function head(f, subject) {
  return headers(f).find(h => h.mime2DecodedSubject == subject);
}

/* What a click on the folder does: SELECT and fetch of what is new. When it is at that already nobody is told of the end:
   what is awaited must be looked for with until(). */
async function open(path) {
  const f = folder(path).QueryInterface(Ci.nsIMsgImapMailFolder);
  await Promise.race([url(`open ${path}`, l => f.updateFolderWithListener(null, l)), sleep(3000)]);
  return f;
}

function fullName(f) {
  const name = f.getFlag(Ci.nsMsgFolderFlags.Inbox) ? "INBOX" : f.name;
  return f.parent.isServer ? name : `${fullName(f.parent)}/${name}`;
}

const USES = ["SentMail", "Drafts", "Trash", "Junk", "Archive", "Inbox"];

/* [[path, [uses], messages, unread]] */
function folders(of = server("imap")) {
  return of.rootFolder.descendants.map(f => [
    fullName(f),
    USES.filter(u => f.getFlag(Ci.nsMsgFolderFlags[u])),
    f.getTotalMessages(false),
    f.getNumUnread(false),
  ]);
}

/* The certificate is self-made: what a person confirms in the exception dialog. */
async function trust(pem, host, ports) {
  const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  const cert = db.constructX509FromBase64(pem.replace(/-----[A-Z ]+-----|\s/g, ""));
  const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
  for (const port of ports) {
    overrides.rememberValidityOverride(host, port, {}, cert, false);
  }
}

/* The account window's two steps: try the settings at the server, then keep them. The kind of AUTH it ended with. */
async function setUp({ type, host, port, tls, smtpPort, address, password }) {
  const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
  const { ConfigVerifier } = ChromeUtils.importESModule("resource:///modules/accountcreation/ConfigVerifier.sys.mjs");
  const { CreateInBackend } = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
  const config = new AccountConfig();
  config.identity = { realname: "Jürgen Groß", emailAddress: address };
  const how = { hostname: host, username: address, password, socketType: Ci.nsMsgSocketType[tls],
                auth: Ci.nsMsgAuthMethod.passwordCleartext, authAlternatives: [] };
  Object.assign(config.incoming, how, { type, port, checkInterval: 600 });
  Object.assign(config.outgoing, how, { type: "smtp", port: smtpPort, addThisServer: true });
  config.rememberPassword = true;
  const kept = await new ConfigVerifier(null, new AbortController().signal).verifyConfig(config, true);
  await CreateInBackend.createAccountInBackend(kept);
  return kept.incoming.auth;
}

/* Writes and sends one as the compose window does, or saves it as a draft; with its copy to Sent or Drafts. */
async function send({ to, subject, body, attach, draft }) {
  const account = MailServices.accounts.defaultAccount;
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.from = MailServices.headerParser.makeMimeAddress("Jürgen Groß", account.defaultIdentity.email);
  fields.to = to.join(", ");
  fields.subject = subject;
  fields.body = body;
  fields.useMultipartAlternative = false;
  if (attach) {
    const a = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
    a.url = Services.io.newFileURI(await IOUtils.getFile(attach)).spec;
    a.name = "Übersicht.bin";
    a.contentType = "application/octet-stream";
    fields.addAttachment(a);
  }
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields;
  params.identity = account.defaultIdentity;
  params.type = Ci.nsIMsgCompType.New;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  const compose = MailServices.compose.initCompose(params);
  const mode = draft ? Ci.nsIMsgCompDeliverMode.SaveAsDraft : Ci.nsIMsgCompDeliverMode.Now;
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error("send: no end after 40 s")), 40000);
    const progress = Cc["@mozilla.org/messenger/progress;1"].createInstance(Ci.nsIMsgProgress);
    compose.addMsgSendListener({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener"]),
      onStartSending() {},
      onSendProgress() {},
      onStatus() {},
      onStopSending(_id, status, text) {
        if (!Components.isSuccessCode(status)) {
          clearTimeout(timer);
          fail(new Error(`send: status 0x${status.toString(16)} ${text}`));
        }
      },
      onGetDraftFolderURI() {},
      onSendNotPerformed(_id, status) {
        fail(new Error(`not sent: 0x${status.toString(16)}`));
      },
      onTransportSecurityError(_id, status) {
        fail(new Error(`not sent: TLS 0x${status.toString(16)}`));
      },
    });
    compose.sendMsg(mode, account.defaultIdentity, account.key, null, progress).then(() => {
      clearTimeout(timer);
      done(true);
    }, fail);
  });
}

/* The message's text as the message pane would get it from the server. */
function text(h) {
  const uri = h.folder.getUriForMsg(h);
  const service = MailServices.messageServiceFromURI(uri);
  return new Promise((done, fail) => {
    const parts = [];
    service.streamMessage(uri, {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
      onStartRequest() {},
      onDataAvailable(_r, stream, _o, n) {
        const b = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        b.setInputStream(stream);
        parts.push(b.readBytes(n));
      },
      onStopRequest(_r, status) {
        Components.isSuccessCode(status) ? done(parts.join("")) : fail(new Error(`stream: 0x${status.toString(16)}`));
      },
    }, null, null, false, "", false);
  });
}

/* "Run search on server" of the search window: the subjects found. */
function search(f, terms) {
  return new Promise((done, fail) => {
    const found = [];
    const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
    session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, f);
    for (const [attrib, op, value] of terms) {
      const term = session.createTerm();
      const v = term.value;
      term.attrib = v.attrib = Ci.nsMsgSearchAttrib[attrib];
      term.op = Ci.nsMsgSearchOp[op];
      if (attrib == "Date") {
        v.date = value;
      } else if (attrib == "Size") {
        v.size = value;
      } else if (attrib == "MsgStatus") {
        v.status = value;
      } else {
        v.str = value;
      }
      term.value = v;
      term.booleanAnd = true;
      session.appendTerm(term);
    }
    const timer = setTimeout(() => fail(new Error("search: no end")), 30000);
    session.registerListener({
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
      onSearchHit(h) {
        found.push(h.mime2DecodedSubject);
      },
      onSearchDone(status) {
        clearTimeout(timer);
        Components.isSuccessCode(status) ? done(found.sort()) : fail(new Error(`search: 0x${status.toString(16)}`));
      },
      onNewSearch() {},
    });
    session.search(null);
  });
}
