"""Marionette, the remote control that is built into Thunderbird and Firefox: JSON in length-prefixed packets on TCP.

    tb = Thunderbird(folder, ""); tb.start(); tb.run("return 1 + n", n=2); tb.quit()

run() executes JavaScript with the program's own privileges and gives back what it returns; a promise is waited for.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS = 90


class MarionetteError(Exception):
    pass


class Connection:
    def __init__(self, port, timeout):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.sock.makefile("rb")
        self.serial = 0
        self.receive()  # who it is

    def receive(self):
        digits = b""
        while True:
            c = self.file.read(1)
            if not c:
                raise MarionetteError("the program closed the connection")
            if c == b":":
                return json.loads(self.file.read(int(digits)))
            digits += c

    def call(self, name, **params):
        self.serial += 1
        packet = json.dumps([0, self.serial, name, params]).encode()
        self.sock.sendall(b"%d:%s" % (len(packet), packet))
        while True:
            answer = self.receive()
            if answer[0] == 1 and answer[1] == self.serial:
                break
        if answer[2] is not None:
            error = answer[2]
            raise MarionetteError(f"{error.get('message')}\n{error.get('stacktrace', '')}".strip())
        result = answer[3]
        return result.get("value") if isinstance(result, dict) and set(result) == {"value"} else result

    def close(self):
        self.file.close()
        self.sock.close()


class Thunderbird:
    """One profile and, between start() and quit(), the program that runs on it."""

    def __init__(self, folder, library, prefs=None, program="thunderbird"):
        """library: JavaScript that precedes each script; prefs: {name: value} beside our own."""
        self.folder = folder
        self.library = library
        self.program = program
        self.prefs = dict(prefs or {})
        self.process = None
        self.connection = None
        self.runs = 0
        os.makedirs(os.path.join(folder, "profile"), exist_ok=True)

    def dialogue_files(self):
        """What its IMAP code logged, a file for each run: the dialogue, also when it went through TLS."""
        return [os.path.join(self.folder, f"moz-{n + 1}.moz_log") for n in range(self.runs)]

    def write_prefs(self):
        ours = {
            "marionette.port": 0,
            "datareporting.policy.dataSubmissionEnabled": False,
            "toolkit.telemetry.enabled": False,
            "app.update.disabledForTesting": True,
            "app.donation.eoy.version.viewed": 999,
            "browser.dom.window.dump.enabled": True,
            "mail.provider.suppress_dialog_on_startup": True,
            "mail.spotlight.firstRunDone": True,
            "mail.winsearch.firstRunDone": True,
            "mail.shell.checkDefaultClient": False,
            "mailnews.start_page.enabled": False,
            "devtools.console.stdout.chrome": True,  # SMTP's and POP3's dialogue go to "out"
            "mailnews.smtp.loglevel": "All",
            "mailnews.pop3.loglevel": "All",
            "network.captive-portal-service.enabled": False,
            "network.connectivity-service.enabled": False,
            "extensions.update.enabled": False,
            "services.settings.server": "data:,#remote-settings-dummy/v1",
        }
        ours.update(self.prefs)
        with open(os.path.join(self.folder, "profile", "user.js"), "w") as f:
            for name, value in ours.items():
                f.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")

    def start(self, timeout=60):
        """timeout: seconds one script may take."""
        self.write_prefs()
        profile = os.path.join(self.folder, "profile")
        port_file = os.path.join(profile, "MarionetteActivePort")
        if os.path.exists(port_file):
            os.unlink(port_file)
        self.runs += 1
        env = dict(os.environ, HOME=self.folder, MOZ_HEADLESS="1", MOZ_CRASHREPORTER_DISABLE="1", LC_ALL="C.UTF-8",
                   MOZ_LOG="timestamp,IMAP:5", MOZ_LOG_FILE=os.path.join(self.folder, f"moz-{self.runs}"))
        env.pop("DISPLAY", None)
        with open(os.path.join(self.folder, "out"), "ab") as out:
            self.process = subprocess.Popen([self.program, "--headless", "--marionette", "--remote-allow-system-access",
                                             "--no-remote", "--profile", profile], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=env, cwd=self.folder, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        port = ""
        while not port:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise MarionetteError(f"{self.program} did not come up; see {self.folder}/out")
            time.sleep(0.1)
            if os.path.exists(port_file):
                with open(port_file) as f:
                    port = f.read().strip()
        self.connection = Connection(int(port), timeout + 30)
        self.connection.call("WebDriver:NewSession", timeouts={"script": timeout * 1000}, unhandledPromptBehavior="accept")
        self.connection.call("Marionette:SetContext", value="chrome")

    def run(self, script, **names):
        """The script's result; names are its variables."""
        head = "".join(f"const {n} = given.{n};\n" for n in names)
        return self.connection.call("WebDriver:ExecuteScript", args=[names], sandbox="system", newSandbox=False,
                                    script=f"const given = arguments[0];\nreturn (async () => {{\n{self.library}\n"
                                           f"{head}{script}\n}})();")

    def quit(self):
        """As when a person closes it: connections are logged out, the profile is written."""
        if self.connection is not None:
            try:
                self.connection.call("Marionette:Quit", flags=["eAttemptQuit"])
            except (MarionetteError, OSError):
                pass
            self.connection.close()
            self.connection = None
        if self.process is not None:
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def installed(program="thunderbird"):
    """Its version, None when it is not there."""
    if shutil.which(program) is None:
        return None
    r = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    return r.stdout.strip() if r.returncode == 0 else None
