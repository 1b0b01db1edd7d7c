"""Every query against a real Prometheus that scrapes two routers of ours with scripted numbers."""

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster.pki import Authority
from modelfleet.adapters.prometheus import PrometheusMetrics
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.errors import MetricsError
from modelfleet.plan.load import FleetLoad, Kept, TierLoad
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets
from tests.adapters.prometheus_process import Page, Prometheus
from tests.recorded import RECORDED

SMALL, MEDIUM, CHAT = Name("team", "small"), Name("team", "medium"), Name("team", "chat")
WAIT_S = 60.0
TARGETS = Targets(
    engines=(
        Pod("team", "small-0", "10.0.0.1", 8000, SMALL),
        Pod("team", "medium-0", "10.0.0.2", 8000, MEDIUM),
    )
)


def router(small_in_flight: float) -> Callable[[int], str]:
    """A router that serves small through two Cascades, four answers within 0.4 s per scrape, and an idle medium."""

    def text(scrape: int) -> str:
        small = 'fleet_namespace="team",cascade="chat",tier="s",model_tier="small"'
        code = 'fleet_namespace="team",cascade="code",tier="s",model_tier="small"'
        medium = 'fleet_namespace="team",cascade="chat",tier="m",model_tier="medium"'
        pool = 'fleet_namespace="team",model_tier="small"'
        seen = 4 * scrape
        r = "modelfleet_router"
        ttft, itl = f"{r}_time_to_first_token_seconds", f"{r}_inter_token_latency_seconds"
        lines = [
            f"{r}_requests_in_flight{{{small}}} {small_in_flight}",
            f"{r}_requests_in_flight{{{code}}} 1",
            f"{r}_requests_in_flight{{{medium}}} 0",
            f"{r}_requests_waiting{{{pool}}} 1",
            f"{r}_retries_total{{{pool}}} {scrape}",
            f'{ttft}_bucket{{{small},le="0.2"}} 0',
            f'{ttft}_bucket{{{small},le="0.4"}} {seen}',
            f'{ttft}_bucket{{{small},le="+Inf"}} {seen}',
            f"{ttft}_sum{{{small}}} {0.3 * seen}",
            f'{ttft}_bucket{{{medium},le="0.2"}} 0',
            f'{ttft}_bucket{{{medium},le="+Inf"}} 0',
            f"{ttft}_sum{{{medium}}} 0",
            f'{itl}_bucket{{{small},le="0.02"}} {10 * seen}',
            f'{itl}_bucket{{{small},le="+Inf"}} {10 * seen}',
            f"{itl}_sum{{{small}}} {0.1 * seen}",
            f'{r}_answer_inter_token_seconds_bucket{{{small},le="0.02"}} {seen // 2}',
            f'{r}_answer_inter_token_seconds_bucket{{{small},le="+Inf"}} {seen}',
            f"{r}_requests_started_total{{{small}}} {seen}",
            f"{r}_requests_started_total{{{medium}}} 0",
            f"{r}_requests_answered_total{{{small}}} {3 * scrape}",
            f"{r}_requests_answered_total{{{medium}}} {scrape}",
            f'{r}_request_errors_total{{{small},kind="Busy"}} {scrape}',
            f'{r}_attempts_total{{{small},outcome="Answered"}} {3 * scrape}',
            f'{r}_attempts_total{{{small},outcome="Escalated"}} {scrape}',
            f'{r}_attempts_total{{{small},outcome="Reset"}} {scrape}',
            f'{r}_turned_away_total{{{small},reason="QueueFull"}} {scrape}',
            f'{r}_turned_away_total{{{small},reason="NoReplica"}} {scrape}',
            f'{r}_tokens_total{{{small},type="input"}} {100 * seen}',
            f'{r}_tokens_total{{{small},type="output"}} {10 * seen}',
            f"{r}_request_duration_seconds_sum{{{small}}} {2 * seen}",
            f"{r}_request_duration_seconds_count{{{small}}} {seen}",
            f'{r}_judged_total{{{small},verdict="Accepted"}} {3 * scrape}',
            f'{r}_judged_total{{{small},verdict="LowScore"}} {scrape}',
            f'{r}_escalations_total{{{small},reason="LowScore"}} {scrape}',
            f'{r}_score_bucket{{{small},le="-1"}} {scrape}',
            f'{r}_score_bucket{{{small},le="0"}} {seen}',
            f'{r}_score_bucket{{{small},le="+Inf"}} {seen}',
        ]
        return "\n".join(lines) + "\n"

    return text


def engine(recording: str) -> Callable[[int], str]:
    """An engine's own metrics as recorded, from a scrape to the next with the recorded number of tokens more."""

    def text(scrape: int) -> str:
        lines = (RECORDED / recording).read_text().splitlines()
        return "\n".join(_times(line, scrape) if "prompt_tokens" in line else line for line in lines) + "\n"

    return text


def _times(line: str, scrape: int) -> str:
    series, _, value = line.rpartition(" ")
    return line if line.startswith("#") else f"{series} {float(value) * scrape}"


def metrics_of(url: str, **settings: object) -> PrometheusMetrics:
    parsed = PrometheusSettings.model_validate({"url": url, **settings})
    return PrometheusMetrics(lambda: parsed, lambda: TARGETS)


async def eventually(
    metrics: PrometheusMetrics, true: Callable[[FleetLoad], bool], *, since_s: float = 15.0
) -> FleetLoad:
    deadline = time.monotonic() + WAIT_S
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = load = await metrics.load(since_s=since_s)
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
    vllm, llama = Page(engine("vllm-0.32.0/metrics-loaded.txt")), Page(engine("llama.cpp/metrics-loaded.txt"))
    with vllm, llama:
        scraped = {one.port: {}, other.port: {}, vllm.port: pod("small-0"), llama.port: pod("medium-0")}
        prometheus = Prometheus(tmp_path, scraped)
        try:
            metrics = metrics_of(prometheus.url)
            load = await eventually(
                metrics,
                lambda load: (
                    SMALL in load.tiers
                    and load.tiers[SMALL].routers == 2
                    and load.tiers[SMALL].ttft is not None
                    and load.tiers[SMALL].ttft.count > 16
                    and load.tiers[SMALL].in_flight == pytest.approx(7)
                    and load.tiers[SMALL].engines == 1
                    and load.tiers[MEDIUM].cached_share is not None
                    and load.tiers[SMALL].cached_share is not None
                ),
            )
            expect_small(load.tiers[SMALL])
            expect_medium(load.tiers[MEDIUM])
            await expect_since(metrics)
            assert load.started[CHAT]["m"] == 0
            assert load.answered[CHAT]["s"] == pytest.approx(3 * load.answered[CHAT]["m"], rel=0.01)

            other.status = 500
            partial = await eventually(metrics, lambda load: load.tiers[SMALL].routers == 1)
            assert partial.tiers[SMALL].in_flight is not None
            assert partial.cascades[CHAT].routers == 1

            prometheus.kill()
            with pytest.raises(MetricsError):
                await metrics.load()
            metrics.close()
        finally:
            prometheus.kill()


def expect_small(small: TierLoad) -> None:
    # Two routers, two Cascades each: 3 + 1 + 2 + 1.
    assert small.in_flight == pytest.approx(7)
    assert small.age_s is not None
    assert 0 <= small.age_s < 30
    # All answers lie between 0.2 and 0.4 s; the quantile is interpolated between the two.
    assert small.ttft is not None
    assert small.ttft.quantile(0.5) == pytest.approx(0.3)
    assert small.ttft.quantile(0.95) == pytest.approx(0.39)
    assert small.ttft.mean == pytest.approx(0.3)
    assert small.itl is not None
    assert small.itl.mean == pytest.approx(0.01)
    # Per four requests: five attempts, one of them again, and one more request found the line too long.
    assert small.rate_rps is not None
    assert small.rate_rps > 0
    assert small.prompt_tokens == pytest.approx(100)
    assert small.output_tokens == pytest.approx(10)
    # Two of seven requests wait, so two sevenths of the two seconds are no work.
    assert small.answer_s == pytest.approx(2 * 5 / 7)
    assert small.waiting_router == pytest.approx(2)
    # As recorded: vLLM 0.32.0 with 16 requests that wait, and nothing cached.
    assert small.waiting_engines == 16
    assert small.kv_used == pytest.approx(0.022, abs=0.001)
    assert small.cached_share == 0


def expect_medium(medium: TierLoad) -> None:
    # Idle is not blind: the count is a fresh zero.
    assert medium.ttft is not None
    assert medium.ttft.count == 0
    assert medium.in_flight == 0
    # As recorded: llama.cpp had found 2551 tokens in its cache beside the 1469 that it processed.
    assert medium.cached_share == pytest.approx(2551 / (2551 + 1469))
    assert (medium.waiting_engines, medium.kv_used) == (4, None)
    assert medium.prompt_tokens is None


async def expect_since(metrics: PrometheusMetrics) -> None:
    """What came between two looks, to the request: eight requests, six answers, two errors in two scrapes."""

    def told(load: FleetLoad) -> bool:
        chat = load.cascades[CHAT]
        return bool(chat.arrived) and chat.answers is not None and chat.answers.ttft is not None

    load = await eventually(metrics, told, since_s=5.0)
    chat, small = load.cascades[CHAT], load.tiers[SMALL]
    assert chat.arrived is not None
    assert chat.answers is not None
    assert small.answers is not None
    assert chat.answers.count == pytest.approx(chat.arrived)
    assert chat.failed == pytest.approx(chat.arrived / 4)
    assert small.answers.count == pytest.approx(chat.answers.count * 3 / 4)
    assert chat.kept(ttft_s=0.4, itl_s=None) == Kept(chat.answers.count, chat.answers.count)
    assert chat.kept(ttft_s=0.4, itl_s=0.02) == Kept(chat.answers.count, chat.answers.count / 2)
    assert chat.kept(ttft_s=0.2, itl_s=0.02) == Kept(chat.answers.count, 0.0)
    step = chat.steps["s"]
    assert step.judged == pytest.approx(4 * (step.escalated or 0))
    assert step.scores is not None
    assert step.scores.quantile(0.25) == pytest.approx(-1)
    assert chat.steps["m"].judged is None


def pod(name: str) -> dict[str, str]:
    """What a scrape of pods adds, by PodMonitor or by annotation."""
    return {"namespace": "team", "pod": name}


async def test_tls_with_an_authority_and_a_client_certificate_of_ones_own(tmp_path: Path):
    authority = Authority(tmp_path)
    server, client = (authority.issue(name, name, hosts=["127.0.0.1"]) for name in ("server", "client"))
    prometheus = Prometheus(
        tmp_path,
        {},
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
                await refused.load()
    finally:
        prometheus.kill()


ANSWERS = {
    "an error": (500, "no"),
    "a page of HTML": (200, "<html>sign in</html>"),
    "an error in JSON": (200, '{"status": "error", "error": "bad query"}'),
    "a series without a value": (
        200,
        '{"data": {"result": [{"metric": {"query": "age"}}]}}',
    ),
    "a list where an object belongs": (200, "[]"),
}


@pytest.mark.parametrize(("status", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_a_wrong_answer_is_an_error_never_an_empty_load(status: int, text: str):
    with Page(lambda _: text, status=status) as page:
        metrics = metrics_of(f"http://127.0.0.1:{page.port}")
        with pytest.raises(MetricsError):
            await metrics.load()
        metrics.close()


async def test_an_address_that_is_none_is_an_error_of_the_metrics():
    for url in ("http://[bad", "prometheus:9090", "no address", "http://127.0.0.1:99999"):
        metrics = metrics_of(url)
        with pytest.raises(MetricsError):
            await metrics.load()
        metrics.close()


async def test_a_store_that_never_answers_costs_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        metrics = metrics_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout="200ms")
        with pytest.raises(MetricsError):
            await metrics.load()
        metrics.close()


async def test_a_look_that_nobody_waits_for_any_more_fails_without_a_word():
    """It used to be told as "Future exception was never retrieved", beside the error of its timeout."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    enough = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not enough.is_set():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    metrics = metrics_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout="100ms")
    with pytest.raises(MetricsError, match="more than"):
        await metrics.load()
    enough.set()
    failures = set()
    while not any("failed" in failure for failure in failures):  # until the first look has come back
        with pytest.raises(MetricsError) as again:
            await metrics.load()
        failures.add(str(again.value))
        await asyncio.sleep(0.02)
    metrics.close()
    server.close()
    gc.collect()

    assert told == []


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
            assert (await metrics.load()).tiers == {}
            path, headers = page.requests[-1]
            assert path.startswith("/prometheus/api/v1/query?query=")
            assert headers["Authorization"] == f"Bearer {secret}"
            assert headers["X-Scope-OrgID"] == "team"
        token.unlink()
        with pytest.raises(MetricsError, match="bearer token"):
            await metrics.load()
        metrics.close()


async def test_settings_may_change_between_two_looks():
    with (
        Page(lambda _: '{"data": {"result": []}}') as one,
        Page(lambda _: '{"data": {"result": []}}') as other,
    ):
        urls = iter([f"http://127.0.0.1:{one.port}", f"http://127.0.0.1:{other.port}"])
        metrics = PrometheusMetrics(lambda: PrometheusSettings(url=next(urls)), Targets)
        await metrics.load()
        await metrics.load()
        metrics.close()

        assert one.requests
        assert other.requests
