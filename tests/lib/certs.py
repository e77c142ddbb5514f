"""A throw-away certificate authority, its certificates for servers, good and bad, and their TLSA records.

    ca = certs.Authority(folder)                    ca.file: PEM, for outbound.ca_file
    leaf = ca.leaf("mx.example.org")                leaf.chain, leaf.key: PEM files; leaf.context(): for Python's servers
    ca.leaf("mx.example.org", expired=True)         its last day was last year; names can be several, "*.example.org" too
    certs.Authority(folder2).leaf(..)               by an authority that nobody knows
    leaf.tlsa(3, 1, 1), ca.tlsa(2, 1, 1)            record data as a zone file has it: "3 1 1 ab12.."

Everything is readable for all: a server under test has another uid.
"""
import hashlib
import os
import ssl
import subprocess

CONF = """[ca]
default_ca = here
[here]
dir = {d}
database = {d}/index
new_certs_dir = {d}
serial = {d}/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copyall
[any]
commonName = optional
[req]
distinguished_name = dn
[dn]
"""


EC = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


def openssl(*args, stdin=None):
    r = subprocess.run(["openssl", *args], input=stdin, capture_output=True, timeout=60)
    if r.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(args)} ended with {r.returncode}: {r.stderr.decode(errors='replace')[-800:]}")
    return r.stdout


class Certificate:
    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def tlsa(self, usage, selector=1, matching=1):
        """RFC 6698 2.1: selector 0 the certificate, 1 its key; matching 0 the octets, 1 SHA-256, 2 SHA-512."""
        if selector == 0:
            data = openssl("x509", "-in", self.cert, "-outform", "DER")
        else:
            data = openssl("pkey", "-pubin", "-outform", "DER", stdin=openssl("x509", "-in", self.cert, "-noout", "-pubkey"))
        if matching:
            data = (hashlib.sha256 if matching == 1 else hashlib.sha512)(data).digest()
        return f"{usage} {selector} {matching} {data.hex()}"


class Leaf(Certificate):
    def __init__(self, base, ca):
        super().__init__(base + ".crt", base + ".key")
        self.chain = base + ".pem"
        with open(self.chain, "wb") as out:
            for name in (self.cert, ca.cert):
                with open(name, "rb") as f:
                    out.write(f.read())

    def context(self, minimum=None, maximum=None):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(self.chain, self.key)
        if minimum:
            ctx.minimum_version = minimum
        if maximum:
            ctx.maximum_version = maximum
        return ctx


class Authority(Certificate):
    def __init__(self, folder, name="Throw-away CA"):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        super().__init__(os.path.join(folder, "ca.crt"), os.path.join(folder, "ca.key"))
        self.folder, self.n = folder, 0
        self.conf = os.path.join(folder, "openssl.conf")
        for path, text in ((self.conf, CONF.format(d=folder)), (os.path.join(folder, "index"), ""),
                           (os.path.join(folder, "serial"), "1000\n")):
            with open(path, "w") as f:
                f.write(text)
        openssl("req", "-x509", "-newkey", *EC, "-nodes", "-days", "3650",
                "-subj", f"/CN={name}", "-config", self.conf, "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash",
                "-keyout", self.key, "-out", self.cert)
        os.chmod(self.key, 0o644)

    @property
    def file(self):
        return self.cert

    def leaf(self, *names, expired=False):
        """A certificate with these DNS names; without any it has only a common name that is nobody's."""
        self.n += 1
        base = os.path.join(self.folder, f"leaf{self.n}")
        san = ["-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names)] if names else []
        openssl("req", "-newkey", *EC, "-nodes", "-subj", f"/CN={names[0] if names else 'x'}"[:67],
                "-config", self.conf, *san, "-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=serverAuth",
                "-keyout", base + ".key", "-out", base + ".csr")
        begin, end = ("20200101000000Z", "20250101000000Z") if expired else ("20240101000000Z", "20491231000000Z")
        openssl("ca", "-batch", "-notext", "-config", self.conf, "-cert", self.cert, "-keyfile", self.key, "-startdate", begin,
                "-enddate", end, "-in", base + ".csr", "-out", base + ".crt")
        os.chmod(base + ".key", 0o644)
        return Leaf(base, self)
