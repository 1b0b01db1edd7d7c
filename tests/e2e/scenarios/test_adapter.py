"""The external metrics API answers as an autoscaler expects, and says nothing where Prometheus says nothing."""

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from e2e.scenarios.adapter import GROUP, Adapter


class Prometheus(BaseHTTPRequestHandler):
    """Knows one series, of tier big in namespace there."""

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["query"][0]
        found = [{"metric": {}, "value": [1.0, "12.3456"]}] if query == "load there big" else []
        data = json.dumps({"data": {"result": found}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api() -> Iterator[str]:
    with serving(Prometheus) as prometheus:
        known = type(
            "Known", (Adapter,), {"queries": {"load": "load NAMESPACE SELECTED"}, "prometheus": prometheus}
        )
        with serving(known) as base:
            yield f"{base}/apis/{GROUP}"


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_it_lists_what_it_knows(api: str) -> None:
    assert [one["name"] for one in get(api)["resources"]] == ["load"]


def test_a_value_is_a_quantity(api: str) -> None:
    found = get(f"{api}/namespaces/there/load?labelSelector=tier%3Dbig")

    assert [item["value"] for item in found["items"]] == ["12346m"]
    assert found["kind"] == "ExternalMetricValueList"


def test_no_series_is_no_item(api: str) -> None:
    assert get(f"{api}/namespaces/there/load?labelSelector=tier%3Dsmall")["items"] == []


def test_what_it_does_not_know_is_not_found(api: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{api}/namespaces/there/nothing")
