"""An HTTPS server for MTA-STS policies (RFC 8461) on loopback, as good or bad as a test tells it.

    with policies.Server("127.0.0.9", ca.leaf("mta-sts.a.test", "mta-sts.b.test")) as p:      p.port
        p.bodies["mta-sts.a.test"] = policies.policy("enforce", ["mx.a.test"], 86400)
        p.asked: names of the hosts that were asked for, in order
    p.bodies[host] may be a function(handler) that answers by itself; a host without one gets 404.
    p.leaf can be changed: the next connection has it.
"""
import http.server
import ssl
import threading

PATH = "/.well-known/mta-sts.txt"


def policy(mode, mx, max_age):
    return "version: STSv1\r\n" + f"mode: {mode}\r\n" + "".join(f"mx: {x}\r\n" for x in mx) + f"max_age: {max_age}\r\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        owner = self.server.owner
        host = (self.headers.get("Host") or "").split(":")[0].lower()
        owner.asked.append(host)
        body = owner.bodies.get(host) if self.path == PATH else None
        if callable(body):
            body(self)
        elif body is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


class Https(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that does not trust us goes away: nothing to say."""

    def finish_request(self, request, client_address):
        """The handshake in the connection's own thread: a client that is silent holds up nobody."""
        request.settimeout(30)
        with self.owner.leaf.context().wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)

    def shutdown_request(self, request):
        try:
            super().shutdown_request(request)
        except (OSError, ssl.SSLError):
            pass


class Server:
    def __init__(self, address, leaf, port=0):
        self.address, self.leaf, self.bodies, self.asked = address, leaf, {}, []
        self.port = port
        self.up()

    def up(self):
        self.server = Https((self.address, self.port), Handler)
        self.server.owner = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self):
        """Connections are refused, until up()."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()
