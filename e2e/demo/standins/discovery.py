"""Tells Prometheus which pods to scrape, where its own build cannot ask Kubernetes (Debian's cannot).

A sidecar of Prometheus with the standard library alone: every GET lists the pods of the fleet and answers in the
format of `http_sd_configs`.
"""

import json
import ssl
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PODS = "https://kubernetes.default.svc/api/v1/pods?labelSelector=app.kubernetes.io%2Fpart-of%3Dmodelfleet"
LIMIT_S = 5.0
# Component -> name of the port that answers /metrics.
PORTS = {"engine": "http", "router": "metrics", "operator": "metrics"}


def groups(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One target group per pod that runs, with its namespace, name and component as labels."""
    found = []
    for pod in pods:
        component = pod["metadata"]["labels"].get("app.kubernetes.io/component", "")
        address = pod["status"].get("podIP")
        if not address or pod["status"].get("phase") != "Running":
            continue
        ports = [port for each in pod["spec"]["containers"] for port in each.get("ports", [])]
        targets = [
            f"{address}:{port['containerPort']}" for port in ports if port.get("name") == PORTS.get(component)
        ]
        labels = {name: pod["metadata"][name] for name in ("namespace", "name")}
        if targets:
            found.append(
                {
                    "targets": targets,
                    "labels": {
                        "namespace": labels["namespace"],
                        "pod": labels["name"],
                        "component": component,
                    },
                }
            )
    return found


class Discovery(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        request = urllib.request.Request(PODS)  # the API server's fixed address
        request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
        trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S, context=trust) as answer:  # noqa: S310  # as above
                body = json.dumps(groups(json.load(answer)["items"])).encode()
        except OSError as err:
            # Prometheus keeps the targets it knows.
            self.send_error(503, str(err))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Every two seconds is too often to be said."""


def main() -> None:
    HTTPServer(("127.0.0.1", 8081), Discovery).serve_forever()


if __name__ == "__main__":
    main()
