"""The door of a paid API: TLS, an API key, one model name; behind it a llama.cpp server on loopback.

It keeps the last bodies it was sent: GET /seen, with the key, is for tests that ask what has left the cluster.  Runs inside the cluster with the standard library alone.  Settings come from the environment.
"""

import http.client
import json
import os
import ssl
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

BACKEND = ("127.0.0.1", 8000)
BACKEND_LIMIT_S = 120.0
CHUNK_BYTES = 65536
KEPT_BODIES = 10_000
PASSED_ON = ("content-type",)


class Frontier(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    key: str
    model: str
    seen: ClassVar[deque[str]] = deque(maxlen=KEPT_BODIES)

    def do_GET(self) -> None:
        if self.path == "/seen" and self._has_key():
            self._send_json(200, list(self.seen))
            return
        if self.path != "/healthz":
            self._refuse(404, "not_found", "no such path")
            return
        try:
            backend = http.client.HTTPConnection(*BACKEND, timeout=2)
            backend.request("GET", "/health")
            status = backend.getresponse().status
        except OSError:
            status = 503
        self._send_json(status, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.seen.append(body.decode(errors="replace"))
        if not self._has_key():
            self._refuse(401, "invalid_api_key", "Incorrect API key provided")
        elif json.loads(body).get("model") != self.model:
            self._refuse(404, "model_not_found", f"only {self.model} is served here")
        else:
            self._relay(body)

    def _has_key(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.key}"

    def _relay(self, body: bytes) -> None:
        backend = http.client.HTTPConnection(*BACKEND, timeout=BACKEND_LIMIT_S)
        try:
            backend.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = backend.getresponse()
            self.send_response(answer.status)
            for name in PASSED_ON:
                if value := answer.getheader(name):
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while chunk := answer.read1(CHUNK_BYTES):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            backend.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self._send_json(status, {"error": error})

    def _send_json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        if "/healthz" not in str(args):
            print(format % args, flush=True)


class Server(ThreadingHTTPServer):
    """The handshake belongs to a connection's own thread: a slow client must not stop the others."""

    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


def main() -> None:
    folder = Path(os.environ["TLS_FOLDER"])
    Frontier.key = Path(os.environ["KEY_FILE"]).read_text().strip()
    Frontier.model = os.environ["MODEL"]
    server = Server(("", 8443), Frontier)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.serve_forever()


if __name__ == "__main__":
    main()
