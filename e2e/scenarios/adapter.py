"""What gives a real HorizontalPodAutoscaler a number from Prometheus: the external metrics API, and nothing more.

KEDA and prometheus-adapter do the same with more settings.  Runs inside the cluster with the standard library alone.
QUERIES is a JSON object of metric name -> PromQL, in which NAMESPACE stands for the namespace that is asked about and
SELECTED for the value of the selector's label.
"""

import json
import os
import re
import ssl
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GROUP = "external.metrics.k8s.io/v1beta1"
METRIC = re.compile(rf"/apis/{GROUP}/namespaces/(?P<namespace>[^/]+)/(?P<metric>[^/]+)")
LIMIT_S = 5.0


class Adapter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    queries: dict[str, str]
    prometheus: str

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = METRIC.fullmatch(url.path)
        if url.path == f"/apis/{GROUP}":
            resources = [
                {
                    "name": name,
                    "namespaced": True,
                    "kind": "ExternalMetricValueList",
                    "verbs": ["get"],
                    "singularName": "",
                }
                for name in self.queries
            ]
            self._say(
                200,
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": GROUP,
                    "resources": resources,
                },
            )
        elif asked and asked["metric"] in self.queries:
            selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
            self._say(200, self._values(asked["metric"], asked["namespace"], selector.partition("=")[2]))
        else:
            self._say(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

    def _values(self, metric: str, namespace: str, selected: str) -> dict[str, Any]:
        """No sample is no item, which makes the autoscaler hold."""
        query = self.queries[metric].replace("NAMESPACE", namespace).replace("SELECTED", selected)
        ask = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(ask, timeout=LIMIT_S) as answer:  # noqa: S310  an address of this cluster
            found = json.load(answer)["data"]["result"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251  no part of the operator
        items = [
            {
                "metricName": metric,
                "metricLabels": {},
                "timestamp": now,
                "value": f"{round(float(series['value'][1]) * 1000)}m",
            }
            for series in found
        ]
        return {"kind": "ExternalMetricValueList", "apiVersion": GROUP, "metadata": {}, "items": items}

    def _say(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        pass


class Server(ThreadingHTTPServer):
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


def main() -> None:
    folder = Path(os.environ["TLS_FOLDER"])
    Adapter.queries = json.loads(os.environ["QUERIES"])
    Adapter.prometheus = os.environ["PROMETHEUS"]
    server = Server(("", 8443), Adapter)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.serve_forever()


if __name__ == "__main__":
    main()
