"""A real Prometheus on loopback, and pages for it to scrape."""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self


@dataclass
class Page:
    """Answers GET with what `text(n)` says at the n-th request, and remembers the requests."""

    text: Callable[[int], str]
    status: int = 200
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.requests.append((self.path, dict(self.headers)))
                body = page.text(len(page.requests)).encode()
                self.send_response(page.status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def program(name: str) -> str:
    """Path of a program of Debian's package; installed where the machine lacks it."""
    if shutil.which(name) is None:
        subprocess.run(["apt-get", "install", "-y", "-qq", "prometheus"], check=True)
    return shutil.which(name) or f"/usr/bin/{name}"


class Prometheus:
    """The real one, on loopback, scraping twice a second."""

    def __init__(self, folder: Path, targets: Mapping[int, Mapping[str, str]], *, tls: str = "") -> None:
        binary = program("prometheus")
        config = folder / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
                    "scrape_configs": [
                        {
                            "job_name": "pods",
                            "static_configs": [
                                {"targets": [f"127.0.0.1:{port}"], "labels": labels}
                                for port, labels in targets.items()
                            ],
                        }
                    ],
                }
            )
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        web = folder / "web.yml"
        web.write_text(tls)
        self._process = subprocess.Popen(
            [
                binary,
                f"--config.file={config}",
                f"--web.config.file={web}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ],
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
