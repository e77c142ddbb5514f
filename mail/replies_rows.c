/* What can be the matter, in words. English, then German. */
#include "mail/replies_table.h"

#define ROW(name_, class_, admin_, cause_en, cause_de, fix_en, fix_de)                                       \
    {                                                                                                        \
        .name = (name_), .reply_class = (class_), .is_admin = (admin_), .cause = {(cause_en), (cause_de)},   \
        .fix = {                                                                                             \
            (fix_en),                                                                                        \
            (fix_de)                                                                                         \
        }                                                                                                    \
    }

const struct reply_row replies_rows[] = {
    /* the address */
    ROW("mailbox-unknown", REPLY_UNKNOWN, false,
        "There is no mailbox with this address at the recipient's provider.",
        "Beim Anbieter des Empfängers gibt es kein Postfach mit dieser Adresse.",
        "Check the address for a typing mistake, or ask the recipient in another way which address is right "
        "now.",
        "Prüfen Sie die Adresse auf Tippfehler oder erfragen Sie die heutige auf anderem Weg."),
    ROW("domain-unknown", REPLY_UNKNOWN, false,
        "The part of the address behind the @ does not exist or takes no mail.",
        "Den Teil der Adresse hinter dem @ gibt es nicht, oder er nimmt keine Mail an.",
        "Check the spelling of the domain.", "Prüfen Sie die Schreibweise der Domain."),
    ROW("null-mx", REPLY_UNKNOWN, false, "The recipient's domain has declared that it takes no mail at all.",
        "Die Domain des Empfängers hat erklärt, dass sie gar keine Mail annimmt.",
        "Check the spelling of the domain, or reach the recipient another way.",
        "Prüfen Sie die Schreibweise der Domain oder erreichen Sie den Empfänger anders."),
    ROW("sender-null-mx", REPLY_POLICY, true,
        "The sender's domain has declared that it takes no mail, so its mail is refused.",
        "Die Domain des Absenders hat erklärt, dass sie keine Mail annimmt; darum wird ihre Mail abgelehnt.",
        "Remove the MX record \".\" of the sender's domain, or send with an address that can take answers.",
        "Entfernen Sie den MX-Eintrag \".\" der Absenderdomain oder senden Sie mit einer Adresse, die "
        "Antworten annimmt."),
    ROW("address-syntax", REPLY_UNKNOWN, false,
        "The recipient's server does not accept an address written like this.",
        "Der Server des Empfängers nimmt eine so geschriebene Adresse nicht an.",
        "Check how the address is written.", "Prüfen Sie die Schreibweise der Adresse."),
    ROW("mailbox-ambiguous", REPLY_UNKNOWN, false,
        "The address fits more than one mailbox at the recipient's provider.",
        "Die Adresse passt beim Anbieter des Empfängers auf mehrere Postfächer.",
        "Ask the recipient for the full address.", "Erfragen Sie beim Empfänger die vollständige Adresse."),
    ROW("mailbox-moved", REPLY_UNKNOWN, false, "The mailbox has moved to another address.",
        "Das Postfach ist zu einer anderen Adresse umgezogen.", "Ask the recipient for the new address.",
        "Erfragen Sie beim Empfänger die neue Adresse."),
    ROW("mailbox-disabled", REPLY_DISABLED, false, "The mailbox is closed or takes no mail at present.",
        "Das Postfach ist geschlossen oder nimmt zurzeit keine Mail an.", "Reach the recipient another way.",
        "Erreichen Sie den Empfänger auf anderem Weg."),
    ROW("mailbox-full", REPLY_FULL, false, "The recipient's mailbox is full.",
        "Das Postfach des Empfängers ist voll.",
        "Tell the recipient another way that the mailbox is full, then send again.",
        "Sagen Sie dem Empfänger auf anderem Weg, dass das Postfach voll ist, und senden Sie dann erneut."),
    ROW("recipient-busy", REPLY_RATE, false,
        "The recipient gets more mail at present than the provider allows.",
        "Der Empfänger bekommt zurzeit mehr Mail, als sein Anbieter zulässt.", "Send again in a few hours.",
        "Senden Sie in einigen Stunden erneut."),
    ROW("sender-refused", REPLY_POLICY, true, "The recipient's server does not accept the sender's address.",
        "Der Server des Empfängers nimmt die Absenderadresse nicht an.",
        "Check that the sender's address exists and that its domain has MX, SPF and DKIM records.",
        "Prüfen Sie, ob es die Absenderadresse gibt und ihre Domain MX-, SPF- und DKIM-Einträge hat."),
    /* the message */
    ROW("too-big", REPLY_TOO_BIG, false, "The message is larger than the recipient's provider accepts.",
        "Die Nachricht ist größer, als der Anbieter des Empfängers annimmt.",
        "Send it without the large attachment, for example with a link to the file.",
        "Senden Sie sie ohne den großen Anhang, zum Beispiel mit einem Link auf die Datei."),
    ROW("content", REPLY_CONTENT, false,
        "The recipient's server takes the message for spam or for dangerous.",
        "Der Server des Empfängers hält die Nachricht für Spam oder für gefährlich.",
        "Write it differently (fewer links, no forwarded advertising) and send it again, or reach the "
        "recipient another way.",
        "Formulieren Sie sie anders (weniger Links, keine weitergeleitete Werbung) und senden Sie sie "
        "erneut, oder "
        "erreichen Sie den Empfänger anders."),
    ROW("attachment", REPLY_CONTENT, false, "The recipient's server refuses an attachment as a danger.",
        "Der Server des Empfängers lehnt einen Anhang als gefährlich ab.",
        "Send the file as a link, or in another format; programs and encrypted archives are often refused.",
        "Senden Sie die Datei als Link oder in einem anderen Format; Programme und verschlüsselte Archive "
        "werden oft "
        "abgelehnt."),
    ROW("form", REPLY_POLICY, false, "The message is not formed as the recipient's server wants it.",
        "Die Nachricht ist nicht so aufgebaut, wie es der Server des Empfängers verlangt.",
        "Send it with another mail program; From, Date and Message-ID must each be there once.",
        "Senden Sie sie mit einem anderen Mailprogramm; From, Date und Message-ID müssen je einmal vorhanden "
        "sein."),
    ROW("conversion", REPLY_PROTOCOL, false, "The recipient's server cannot take a message in this form.",
        "Der Server des Empfängers kann eine Nachricht in dieser Form nicht annehmen.",
        "Send it as plain text with ordinary attachments.",
        "Senden Sie sie als einfachen Text mit üblichen Anhängen."),
    ROW("no-smtputf8", REPLY_PROTOCOL, false,
        "A server on the way does not know addresses with letters beyond ASCII.",
        "Ein Server auf dem Weg kennt keine Adressen mit Umlauten oder anderen Zeichen außerhalb von ASCII.",
        "Use an address in plain letters for the sender and the recipient.",
        "Verwenden Sie für Absender und Empfänger eine Adresse ohne solche Zeichen."),
    ROW("too-many-recipients", REPLY_RATE, false,
        "The message has more recipients than the server takes at once.",
        "Die Nachricht hat mehr Empfänger, als der Server auf einmal annimmt.",
        "Send it to fewer recipients at a time.", "Senden Sie sie an weniger Empfänger auf einmal."),
    /* who we are */
    ROW("spf", REPLY_AUTH, true, "The sender's domain does not allow this server to send for it (SPF).",
        "Die Absenderdomain erlaubt diesem Server nicht, für sie zu senden (SPF).",
        "Add this server's address to the SPF record of the domain: postamt domain dns shows it.",
        "Nehmen Sie die Adresse dieses Servers in den SPF-Eintrag der Domain auf: postamt domain dns zeigt "
        "ihn."),
    ROW("dkim", REPLY_AUTH, true, "The message has no valid DKIM signature of the sender's domain.",
        "Die Nachricht trägt keine gültige DKIM-Signatur der Absenderdomain.",
        "Publish the DKIM record of the domain as postamt domain dns shows it.",
        "Veröffentlichen Sie den DKIM-Eintrag der Domain, wie postamt domain dns ihn zeigt."),
    ROW("dmarc", REPLY_AUTH, true,
        "The sender's domain wants unauthenticated mail to be refused (DMARC), and this message was not "
        "authenticated.",
        "Die Absenderdomain lässt nicht beglaubigte Mail ablehnen (DMARC), und diese Nachricht war nicht "
        "beglaubigt.",
        "Publish SPF and DKIM for the domain in From: as postamt domain dns shows them.",
        "Veröffentlichen Sie SPF und DKIM für die Domain in From:, wie postamt domain dns sie zeigt."),
    ROW("dmarc-missing", REPLY_AUTH, true, "The sender's domain has no DMARC record.",
        "Die Absenderdomain hat keinen DMARC-Eintrag.",
        "Publish a DMARC record for the domain: postamt domain dns shows it.",
        "Veröffentlichen Sie einen DMARC-Eintrag für die Domain: postamt domain dns zeigt ihn."),
    ROW("unauthenticated", REPLY_AUTH, true, "The message passed neither SPF nor DKIM.",
        "Die Nachricht hat weder SPF noch DKIM bestanden.",
        "Publish the SPF and DKIM records of the sender's domain as postamt domain dns shows them.",
        "Veröffentlichen Sie die SPF- und DKIM-Einträge der Absenderdomain, wie postamt domain dns sie "
        "zeigt."),
    ROW("arc", REPLY_AUTH, false, "The message was forwarded and its seal (ARC) is broken.",
        "Die Nachricht wurde weitergeleitet, und ihr Siegel (ARC) ist verletzt.",
        "Send it to the final address without the forward.",
        "Senden Sie sie ohne Weiterleitung an die Zieladresse."),
    ROW("reverse-dns", REPLY_REVERSE, true,
        "This server's IP address has no reverse DNS name (PTR), or one that does not lead back to the "
        "address.",
        "Die IP-Adresse dieses Servers hat keinen Reverse-DNS-Namen (PTR) oder einen, der nicht zur Adresse "
        "zurückführt.",
        "Let the provider of the server set the PTR record to the host name of postamt, whose A and AAAA "
        "records name "
        "this address.",
        "Lassen Sie beim Anbieter des Servers den PTR-Eintrag auf den Hostnamen von postamt setzen, dessen "
        "A- und "
        "AAAA-Einträge diese Adresse nennen."),
    ROW("helo", REPLY_REVERSE, true,
        "The name with which this server introduces itself (HELO) is not accepted.",
        "Der Name, mit dem sich dieser Server meldet (HELO), wird nicht anerkannt.",
        "Set hostname in postamt.conf to a full name that leads to this server's address.",
        "Setzen Sie hostname in postamt.conf auf einen vollständigen Namen, der zur Adresse dieses Servers "
        "führt."),
    ROW("dynamic-address", REPLY_REPUTATION, true,
        "This server's IP address counts as one of home or changing connections, from which no mail is "
        "taken.",
        "Die IP-Adresse dieses Servers gilt als Privat- oder Wählanschluss, von dem keine Mail angenommen "
        "wird.",
        "Set a name of your own as reverse DNS and have the address taken off the list, or send through a "
        "smarthost.",
        "Setzen Sie einen eigenen Namen als Reverse-DNS und lassen Sie die Adresse austragen, oder senden "
        "Sie über einen "
        "Smarthost."),
    ROW("blocklist", REPLY_REPUTATION, true,
        "This server's address or domain is on a block list that the recipient's server uses.",
        "Adresse oder Domain dieses Servers steht auf einer Sperrliste, die der Server des Empfängers nutzt.",
        "Look at the page named in the reply, end the cause (often a stolen password that sends spam) and "
        "ask for removal.",
        "Sehen Sie auf der in der Antwort genannten Seite nach, beheben Sie die Ursache (oft ein gestohlenes "
        "Passwort, mit "
        "dem Spam gesendet wird) und beantragen Sie die Austragung."),
    ROW("spamhaus", REPLY_REPUTATION, true, "This server's address is on a list of Spamhaus.",
        "Die Adresse dieses Servers steht auf einer Liste von Spamhaus.",
        "Look it up on check.spamhaus.org, which tells the list, the reason and the way off it.",
        "Schlagen Sie sie auf check.spamhaus.org nach; dort stehen Liste, Grund und der Weg der Austragung."),
    ROW("spamhaus-pbl", REPLY_REPUTATION, true,
        "This server's address is on Spamhaus' list of addresses that should not send mail themselves (PBL).",
        "Die Adresse dieses Servers steht auf der Spamhaus-Liste der Adressen, die nicht selbst Mail senden "
        "sollen (PBL).",
        "If it is a fixed address of yours, remove it on check.spamhaus.org; else send through a smarthost.",
        "Ist es Ihre feste Adresse, tragen Sie sie auf check.spamhaus.org aus; sonst senden Sie über einen "
        "Smarthost."),
    ROW("spamhaus-dbl", REPLY_REPUTATION, true,
        "A domain in the message is on Spamhaus' list of domains (DBL).",
        "Eine Domain in der Nachricht steht auf der Domain-Liste von Spamhaus (DBL).",
        "Look up the sender's domain and those of the links on check.spamhaus.org.",
        "Schlagen Sie die Absenderdomain und die der Links auf check.spamhaus.org nach."),
    ROW("list-misused", REPLY_SYSTEM, false,
        "The recipient's server asks a block list in a way the list does not answer, and takes that for a "
        "listing.",
        "Der Server des Empfängers fragt eine Sperrliste so ab, dass sie nicht antwortet, und hält das für "
        "einen Eintrag.",
        "Nothing is wrong here. Tell the recipient's postmaster: the list refuses queries through public "
        "resolvers.",
        "Hier ist nichts falsch. Sagen Sie es dem Postmaster des Empfängers: die Liste weist Anfragen über "
        "öffentliche "
        "Resolver ab."),
    ROW("reputation", REPLY_REPUTATION, true,
        "The recipient's provider does not trust this server's address.",
        "Der Anbieter des Empfängers traut der Adresse dieses Servers nicht.",
        "Look for accounts that send spam, check SPF, DKIM, DMARC and reverse DNS, then write to the "
        "provider's postmaster.",
        "Suchen Sie nach Konten, die Spam senden, prüfen Sie SPF, DKIM, DMARC und Reverse-DNS und schreiben "
        "Sie dann dem "
        "Postmaster des Anbieters."),
    ROW("microsoft-banned", REPLY_REPUTATION, true, "Microsoft has blocked this server's IP address.",
        "Microsoft hat die IP-Adresse dieses Servers gesperrt.",
        "Ask for removal on sender.office.com; it takes about a day.",
        "Beantragen Sie die Freigabe auf sender.office.com; sie dauert etwa einen Tag."),
    ROW("microsoft-blocklist", REPLY_REPUTATION, true,
        "Outlook.com has this server's address or its network on its block list.",
        "Outlook.com hat die Adresse dieses Servers oder ihr Netz auf seiner Sperrliste.",
        "Write to Outlook.com's support for senders (olcsupport.office.com), and enrol the address in SNDS "
        "and JMRP.",
        "Schreiben Sie dem Support für Absender von Outlook.com (olcsupport.office.com) und melden Sie die "
        "Adresse bei "
        "SNDS und JMRP an."),
    ROW("microsoft-tenant", REPLY_REPUTATION, true,
        "Microsoft 365 has stopped outgoing mail of the organisation used as smarthost.",
        "Microsoft 365 hat ausgehende Mail der als Smarthost genutzten Organisation angehalten.",
        "An administrator of that organisation must open a case with Microsoft.",
        "Ein Administrator dieser Organisation muss sich an den Microsoft-Support wenden."),
    ROW("gmx-policy", REPLY_REPUTATION, true, "GMX or WEB.DE refuses this server's address.",
        "GMX oder WEB.DE weist die Adresse dieses Servers ab.",
        "The page in the reply (postmaster.gmx.net) tells the reason; the form there unblocks the address.",
        "Die Seite in der Antwort (postmaster.gmx.net) nennt den Grund; über das Formular dort wird die "
        "Adresse freigegeben."),
    ROW("tonline-unknown", REPLY_REPUTATION, true,
        "T-Online takes mail only from servers it knows, and has not yet allowed this one.",
        "T-Online nimmt Mail nur von bekannten Servern an und hat diesen noch nicht freigegeben.",
        "Write to tosa@rx.t-online.de and ask for the address to be allowed; reverse DNS must be right and "
        "the host's web "
        "page should say who runs it.",
        "Bitten Sie tosa@rx.t-online.de um Freigabe der Adresse; Reverse-DNS muss stimmen, und die Webseite "
        "des Hosts soll "
        "den Betreiber nennen."),
    ROW("icloud-policy", REPLY_POLICY, true, "iCloud refuses the message by its own rules.",
        "iCloud lehnt die Nachricht nach eigenen Regeln ab.",
        "Check SPF, DKIM, DMARC and reverse DNS, then write to icloudadmin@apple.com with the reply.",
        "Prüfen Sie SPF, DKIM, DMARC und Reverse-DNS und schreiben Sie dann mit der Antwort an "
        "icloudadmin@apple.com."),
    ROW("proofpoint", REPLY_REPUTATION, true,
        "Proofpoint, which filters for the recipient, has this server's address on its list.",
        "Proofpoint, das für den Empfänger filtert, hat die Adresse dieses Servers auf seiner Liste.",
        "Ask for removal on the page named in the reply (ipcheck.proofpoint.com).",
        "Beantragen Sie die Austragung auf der in der Antwort genannten Seite (ipcheck.proofpoint.com)."),
    ROW("yahoo-complaints", REPLY_RATE, true,
        "Yahoo defers mail of this server: users complained, or the volume is unusual.",
        "Yahoo stellt Mail dieses Servers zurück: Nutzer haben sich beschwert, oder die Menge ist "
        "ungewöhnlich.",
        "It is tried again by itself. Look for accounts that send spam; senders.yahooinc.com has a form.",
        "Es wird von selbst erneut versucht. Suchen Sie nach Konten, die Spam senden; senders.yahooinc.com "
        "hat ein "
        "Formular."),
    /* how much, how soon */
    ROW("greylist", REPLY_GREYLIST, false,
        "The recipient's server asks unknown senders to come again after some minutes.",
        "Der Server des Empfängers bittet unbekannte Absender, nach einigen Minuten wiederzukommen.",
        "Nothing needs to be done; it is tried again by itself.",
        "Es ist nichts zu tun; es wird von selbst erneut versucht."),
    ROW("rate", REPLY_RATE, false,
        "The recipient's provider takes mail from this server only slowly at present.",
        "Der Anbieter des Empfängers nimmt von diesem Server zurzeit nur langsam Mail an.",
        "Nothing needs to be done; it is tried again by itself, more slowly.",
        "Es ist nichts zu tun; es wird von selbst und langsamer erneut versucht."),
    ROW("quota-sending", REPLY_RATE, true, "The account used at the smarthost has sent all it may for today.",
        "Das am Smarthost genutzte Konto hat für heute alles gesendet, was es darf.",
        "Wait a day, or raise the limit with that provider.",
        "Warten Sie einen Tag oder lassen Sie die Grenze dort erhöhen."),
    /* encryption and rights */
    ROW("tls-required", REPLY_TLS, true, "The recipient's server takes mail over TLS only.",
        "Der Server des Empfängers nimmt Mail nur über TLS an.",
        "Do not switch TLS off for this destination.", "Schalten Sie TLS für dieses Ziel nicht ab."),
    ROW("requiretls", REPLY_TLS, false,
        "The sender asked for TLS all the way, and a server on the way does not promise that.",
        "Der Absender verlangt TLS auf dem ganzen Weg, und ein Server auf dem Weg sichert das nicht zu.",
        "Send it without that demand if it may travel less protected.",
        "Senden Sie sie ohne diese Forderung, wenn sie weniger geschützt reisen darf."),
    ROW("login-required", REPLY_POLICY, true, "The server wants a login before it takes this mail.",
        "Der Server verlangt eine Anmeldung, bevor er diese Mail annimmt.",
        "If it is the smarthost: set user and password for it. Else the domain's MX record points at a wrong "
        "server.",
        "Ist es der Smarthost: tragen Sie Benutzer und Passwort ein. Sonst zeigt der MX-Eintrag der Domain "
        "auf einen "
        "falschen Server."),
    ROW("login-failed", REPLY_POLICY, true, "The smarthost refused the login.",
        "Der Smarthost hat die Anmeldung abgelehnt.", "Check user and password of the smarthost.",
        "Prüfen Sie Benutzer und Passwort des Smarthosts."),
    ROW("no-relay", REPLY_POLICY, false,
        "The server that should take mail for this domain says it is not responsible for it.",
        "Der Server, der Mail für diese Domain annehmen soll, erklärt sich für nicht zuständig.",
        "Check the address. If it is right, tell the recipient's postmaster: the MX record points at the "
        "wrong server.",
        "Prüfen Sie die Adresse. Stimmt sie, sagen Sie es dem Postmaster des Empfängers: der MX-Eintrag "
        "zeigt auf den "
        "falschen Server."),
    ROW("access-denied", REPLY_POLICY, false,
        "The recipient's server does not take this mail by its own rules.",
        "Der Server des Empfängers nimmt diese Mail nach eigenen Regeln nicht an.",
        "Reach the recipient another way and ask that this sender be allowed.",
        "Erreichen Sie den Empfänger auf anderem Weg und bitten Sie um Freigabe dieses Absenders."),
    ROW("list-members", REPLY_POLICY, false,
        "Only certain senders may write to this address, a mailing list for example.",
        "An diese Adresse, zum Beispiel eine Verteilerliste, dürfen nur bestimmte Absender schreiben.",
        "Ask the list's owner for permission.", "Bitten Sie den Besitzer der Liste um Erlaubnis."),
    /* the way there */
    ROW("no-connection", REPLY_NETWORK, false, "The recipient's server does not answer.",
        "Der Server des Empfängers antwortet nicht.",
        "Nothing needs to be done while it is tried again; if it lasts, tell the recipient another way.",
        "Solange es erneut versucht wird, ist nichts zu tun; dauert es an, sagen Sie es dem Empfänger auf "
        "anderem Weg."),
    ROW("no-route", REPLY_NETWORK, false, "No way to the recipient's server could be found.",
        "Es fand sich kein Weg zum Server des Empfängers.",
        "Check the spelling of the domain, and send again later.",
        "Prüfen Sie die Schreibweise der Domain und senden Sie später erneut."),
    ROW("dns", REPLY_DNS, false, "A name could not be looked up.", "Ein Name ließ sich nicht nachschlagen.",
        "It is tried again by itself; if it lasts, the DNS of the recipient's domain needs its "
        "administrator.",
        "Es wird von selbst erneut versucht; dauert es an, muss sich der Verwalter der Empfängerdomain um "
        "deren DNS "
        "kümmern."),
    ROW("loop", REPLY_NETWORK, false, "The message goes round in circles between servers.",
        "Die Nachricht läuft zwischen Servern im Kreis.",
        "Two forwards point at each other; end one of them.",
        "Zwei Weiterleitungen zeigen aufeinander; beenden Sie eine."),
    ROW("expired", REPLY_NETWORK, false, "It was tried for days without success.",
        "Es wurde tagelang vergeblich versucht.", "Send it again, or reach the recipient another way.",
        "Senden Sie sie erneut oder erreichen Sie den Empfänger anders."),
    ROW("system-busy", REPLY_SYSTEM, false, "The recipient's server has trouble of its own at present.",
        "Der Server des Empfängers hat zurzeit selbst Schwierigkeiten.",
        "Nothing needs to be done; it is tried again by itself.",
        "Es ist nichts zu tun; es wird von selbst erneut versucht."),
    ROW("system-full", REPLY_SYSTEM, false, "The recipient's server has no disk space left.",
        "Der Server des Empfängers hat keinen Speicherplatz mehr.",
        "Send again later; it is their administrator's to mend.",
        "Senden Sie später erneut; beheben muss es der dortige Verwalter."),
    ROW("protocol", REPLY_PROTOCOL, true, "The recipient's server did not understand this server.",
        "Der Server des Empfängers hat diesen Server nicht verstanden.",
        "postamt queue why shows the dialogue's last words; a firewall that meddles with SMTP is a common "
        "cause.",
        "postamt queue why zeigt die letzten Worte des Dialogs; oft ist eine Firewall schuld, die in SMTP "
        "eingreift."),
    ROW("later", REPLY_OTHER, false, "The recipient's server asks to try again later.",
        "Der Server des Empfängers bittet, es später erneut zu versuchen.",
        "Nothing needs to be done; it is tried again by itself.",
        "Es ist nichts zu tun; es wird von selbst erneut versucht."),
    ROW("refused", REPLY_OTHER, false, "The recipient's server refused the message for good.",
        "Der Server des Empfängers hat die Nachricht endgültig abgelehnt.",
        "The server's own words say more; reach the recipient another way if they do not help.",
        "Die Worte des Servers sagen mehr; helfen sie nicht, erreichen Sie den Empfänger auf anderem Weg."),
    ROW("unclear", REPLY_OTHER, false, "The recipient's server gave no answer that can be understood.",
        "Der Server des Empfängers gab keine verständliche Antwort.",
        "Send again later, or reach the recipient another way.",
        "Senden Sie später erneut oder erreichen Sie den Empfänger auf anderem Weg."),
};
const size_t replies_nrows = sizeof replies_rows / sizeof *replies_rows;
