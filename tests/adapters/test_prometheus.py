"""Every query against a real Prometheus that scrapes two routers of ours with scripted numbers."""

import asyncio
import json
import math
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from e2e.cluster.pki import Authority
from modelfleet.adapters import queries
from modelfleet.adapters.prometheus import PrometheusMetrics
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad
from modelfleet.plan.snapshot import Name

SMALL, MEDIUM, CHAT = Name("team", "small"), Name("team", "medium"), Name("team", "chat")
WAIT_S = 60.0


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


def router(small_in_flight: float) -> Callable[[int], str]:
    """A router that serves small through two Cascades, four answers within 0.4 s per scrape, and an idle medium."""

    def text(scrape: int) -> str:
        small = 'fleet_namespace="team",cascade="chat",tier="s",model_tier="small"'
        code = 'fleet_namespace="team",cascade="code",tier="s",model_tier="small"'
        medium = 'fleet_namespace="team",cascade="chat",tier="m",model_tier="medium"'
        seen = 4 * scrape
        ttft = "modelfleet_router_time_to_first_token_seconds"
        lines = [
            f"modelfleet_router_requests_in_flight{{{small}}} {small_in_flight}",
            f"modelfleet_router_requests_in_flight{{{code}}} 1",
            f"modelfleet_router_requests_in_flight{{{medium}}} 0",
            f'{ttft}_bucket{{{small},le="0.2"}} 0',
            f'{ttft}_bucket{{{small},le="0.4"}} {seen}',
            f'{ttft}_bucket{{{small},le="+Inf"}} {seen}',
            f"{ttft}_count{{{small}}} {seen}",
            f'{ttft}_bucket{{{medium},le="0.2"}} 0',
            f'{ttft}_bucket{{{medium},le="+Inf"}} 0',
            f"{ttft}_count{{{medium}}} 0",
            f"modelfleet_router_requests_started_total{{{small}}} {seen}",
            f"modelfleet_router_requests_started_total{{{medium}}} 0",
            f"modelfleet_router_requests_answered_total{{{small}}} {3 * scrape}",
            f"modelfleet_router_requests_answered_total{{{medium}}} {scrape}",
        ]
        return "\n".join(lines) + "\n"

    return text


def program(name: str) -> str:
    """Path of a program of Debian's package; installed where the machine lacks it."""
    if shutil.which(name) is None:
        subprocess.run(["apt-get", "install", "-y", "-qq", "prometheus"], check=True)
    return shutil.which(name) or f"/usr/bin/{name}"


class Prometheus:
    """The real one, on loopback, scraping twice a second."""

    def __init__(self, folder: Path, targets: list[int], *, tls: str = "") -> None:
        binary = program("prometheus")
        config = folder / "prometheus.yml"
        hosts = ", ".join(f"'127.0.0.1:{port}'" for port in targets)
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
            f"scrape_configs: [{{job_name: routers, static_configs: [{{targets: [{hosts}]}}]}}]\n"
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


def metrics_of(url: str, **settings: object) -> PrometheusMetrics:
    parsed = PrometheusSettings.model_validate({"url": url, **settings})
    return PrometheusMetrics(lambda: parsed)


async def eventually(metrics: PrometheusMetrics, true: Callable[[FleetLoad], bool]) -> FleetLoad:
    deadline = time.monotonic() + WAIT_S
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = load = await metrics.load({50, 95})
            if true(load):
                return load
        except MetricsError as err:  # Still starting.
            last = err
        await asyncio.sleep(0.2)
    raise AssertionError(f"not seen within {WAIT_S} s; last: {last}")


@pytest.fixture
def two_routers() -> Iterator[tuple[Page, Page]]:
    with Page(router(3)) as one, Page(router(2)) as other:
        yield one, other


async def test_every_query_on_a_real_prometheus(tmp_path: Path, two_routers: tuple[Page, Page]):
    one, other = two_routers
    prometheus = Prometheus(tmp_path, [one.port, other.port])
    try:
        metrics = metrics_of(prometheus.url)
        load = await eventually(
            metrics,
            lambda load: (
                SMALL in load.tiers
                and load.tiers[SMALL].routers == 2
                and not math.isnan(load.tiers[SMALL].ttft_s.get(95, math.nan))
                and load.answered.get(CHAT, {}).get("m", 0) > 4
                and load.tiers[SMALL].in_flight == pytest.approx(7)
            ),
        )
        small, medium = load.tiers[SMALL], load.tiers[MEDIUM]

        # Two routers, two Cascades each: 3 + 1 + 2 + 1.
        assert small.in_flight == pytest.approx(7)
        assert small.age_s is not None
        assert 0 <= small.age_s < 30
        # All answers lie between 0.2 and 0.4 s; the quantile is interpolated between the two.
        assert small.ttft_s[50] == pytest.approx(0.3)
        assert small.ttft_s[95] == pytest.approx(0.39)
        assert small.first_tokens_per_s is not None
        assert small.first_tokens_per_s > 0
        # Idle is not blind: the count is a fresh zero, and only therefore the quantile is no number.
        assert medium.first_tokens_per_s == 0
        assert math.isnan(medium.ttft_s[95])
        assert medium.in_flight == 0
        assert load.started[CHAT]["m"] == 0
        assert load.answered[CHAT]["s"] == pytest.approx(3 * load.answered[CHAT]["m"], rel=0.01)

        other.status = 500
        partial = await eventually(metrics, lambda load: load.tiers[SMALL].routers == 1)
        assert partial.tiers[SMALL].in_flight is not None

        prometheus.kill()
        with pytest.raises(MetricsError):
            await metrics.load({95})
        metrics.close()
    finally:
        prometheus.kill()


IN_FLIGHT = 'modelfleet_router_requests_in_flight{fleet_namespace="team",model_tier="small",instance="%s"}'
SMALL_LABELS = '{fleet_namespace="team", model_tier="small"}'
ROWS = {
    "a jumping gauge is averaged": (queries.IN_FLIGHT, "5s", {"a": "8 0 8 0"}, "10s", 16 / 3),
    "routers add up": (queries.IN_FLIGHT, "5s", {"a": "2 2", "b": "3 3"}, "5s", 5),
    "scraped rarely: the last value": (queries.IN_FLIGHT, "25s", {"a": "4 8"}, "20s", 4),
    "scraped rarely: its age shows": (queries.AGE, "25s", {"a": "4 8"}, "20s", 20),
    "the oldest router's age counts": (queries.AGE, "5s", {"a": "1 1 1 1", "b": "1"}, "15s", 15),
    "a router that is gone is not counted": (queries.ROUTERS, "5s", {"a": "1 1", "b": "1 stale"}, "5s", 1),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_queries_make_of_time(tmp_path: Path, row: tuple[str, str, dict[str, str], str, float]):
    query, interval, series, at, want = row
    case = {
        "interval": interval,
        "input_series": [{"series": IN_FLIGHT % name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": at, "exp_samples": [{"labels": SMALL_LABELS, "value": want}]}
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "5s", "tests": [case]}))
    done = subprocess.run(
        [program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


async def test_tls_with_an_authority_and_a_client_certificate_of_ones_own(tmp_path: Path):
    authority = Authority(tmp_path)
    server, client = (authority.issue(name, name, hosts=["127.0.0.1"]) for name in ("server", "client"))
    prometheus = Prometheus(
        tmp_path,
        [],
        tls=f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}, "
        f"client_auth_type: RequireAndVerifyClientCert, client_ca_file: {authority.pair.cert}}}",
    )
    try:
        ours = {"clientCertFile": str(client.cert), "clientKeyFile": str(client.key)}
        trusted = metrics_of(prometheus.url, caFile=str(authority.pair.cert), **ours)
        await eventually(trusted, lambda load: load.tiers == {})

        for refused in (
            metrics_of(prometheus.url, caFile=str(authority.pair.cert)),
            metrics_of(prometheus.url, **ours),
            metrics_of(prometheus.url, caFile=str(tmp_path / "none.crt"), **ours),
        ):
            with pytest.raises(MetricsError):
                await refused.load({95})
    finally:
        prometheus.kill()


SERIES = '{"metric": {"fleet_namespace": "a", "model_tier": "b"}, "value": [1, "+Inf"]}'
ANSWERS = {
    "an error": (500, "no"),
    "a page of HTML": (200, "<html>sign in</html>"),
    "an error in JSON": (200, '{"status": "error", "error": "bad query"}'),
    "a series without a value": (
        200,
        '{"data": {"result": [{"metric": {"fleet_namespace": "a", "model_tier": "b"}}]}}',
    ),
    "a list where an object belongs": (200, "[]"),
    "routers without end": (200, f'{{"data": {{"result": [{SERIES}]}}}}'),
}


@pytest.mark.parametrize(("status", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_a_wrong_answer_is_an_error_never_an_empty_load(status: int, text: str):
    with Page(lambda _: text, status=status) as page:
        metrics = metrics_of(f"http://127.0.0.1:{page.port}")
        with pytest.raises(MetricsError):
            await metrics.load({95})
        metrics.close()


async def test_an_address_that_is_none_is_an_error_of_the_metrics():
    for url in ("http://[bad", "prometheus:9090", "no address", "http://127.0.0.1:99999"):
        metrics = metrics_of(url)
        with pytest.raises(MetricsError):
            await metrics.load({95})
        metrics.close()


async def test_a_store_that_never_answers_costs_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        metrics = metrics_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout="200ms")
        with pytest.raises(MetricsError):
            await metrics.load({95})
        metrics.close()


async def test_tenant_header_and_token_are_sent_and_the_token_is_read_each_time(tmp_path: Path):
    token = tmp_path / "token"
    with Page(lambda _: '{"data": {"result": []}}') as page:
        metrics = metrics_of(
            f"http://127.0.0.1:{page.port}/prometheus/",
            bearerTokenFile=str(token),
            headers={"X-Scope-OrgID": "team"},
        )
        for secret in ("first", "second"):
            token.write_text(f"{secret}\n")
            assert (await metrics.load({95})).tiers == {}
            path, headers = page.requests[-1]
            assert path.startswith("/prometheus/api/v1/query?query=")
            assert headers["Authorization"] == f"Bearer {secret}"
            assert headers["X-Scope-OrgID"] == "team"
        token.unlink()
        with pytest.raises(MetricsError, match="bearer token"):
            await metrics.load({95})
        metrics.close()


async def test_settings_may_change_between_two_looks():
    with (
        Page(lambda _: '{"data": {"result": []}}') as one,
        Page(lambda _: '{"data": {"result": []}}') as other,
    ):
        urls = iter([f"http://127.0.0.1:{one.port}", f"http://127.0.0.1:{other.port}"])
        metrics = PrometheusMetrics(lambda: PrometheusSettings(url=next(urls)))
        await metrics.load(set())
        await metrics.load(set())
        metrics.close()

        assert one.requests
        assert other.requests
