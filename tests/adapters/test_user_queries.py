"""What users may write, against a real Prometheus; and stores that misbehave."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.cluster.pki import Authority
from modelfleet.adapters.user_queries import UserQueries
from modelfleet.api.fleet_settings import PrometheusSettings
from modelfleet.plan.asked import Answer
from tests.adapters.prometheus_process import Page, Prometheus

WAIT_S = 60.0


def queries(url: str | None, **settings: object) -> UserQueries:
    told = PrometheusSettings.model_validate({"url": url, **settings})
    return UserQueries(lambda: told)


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[str]:
    page = Page(lambda _: 'jobs{queue="a"} 3\njobs{queue="b"} 4\nbroken NaN\n')
    with page:
        store = Prometheus(tmp_path, {page.port: {}})
        try:
            await _scraped(store.url)
            yield store.url
        finally:
            store.kill()


async def _scraped(url: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while (await queries(url).ask(["sum(jobs)"]))["sum(jobs)"] != Answer(7.0):
        assert time.monotonic() < deadline, "nothing was scraped"
        await asyncio.sleep(0.2)


async def test_each_query_is_answered_by_itself(prometheus: str):
    seen: list[str] = []
    told = PrometheusSettings(url=f"{prometheus}/")
    asked = UserQueries(lambda: told, observe_query=lambda name, _: seen.append(name))

    got = await asked.ask(
        ["sum(jobs)", "scalar(sum(jobs))", "jobs", "absent", "broken", "sum(jobs", "jobs[1m]", '"x"']
    )

    assert got["sum(jobs)"] == got["scalar(sum(jobs))"] == Answer(7.0)
    assert got["jobs"].problem == "it gives several series instead of one: put sum(...) or max(...) around it"
    assert got["absent"].problem == "it gives nothing: append or vector(0) where that means none"
    assert got["broken"].problem == "it gives NaN, which is no amount"
    assert "parse error: unclosed left parenthesis" in got["sum(jobs"].problem
    assert got["jobs[1m]"].problem.startswith("it gives a matrix instead of one number")
    assert got['"x"'].problem.startswith("it gives a string instead of one number")
    assert seen == ["user"] * 8


async def test_without_a_url_everybody_is_told_so():
    got = await queries(None).ask(["up"])

    assert got == {"up": Answer(problem="the operator's settings name no prometheus.url")}


async def test_nobody_asks_nothing():
    assert await queries("http://127.0.0.1:1").ask([]) == {}


async def test_a_store_that_is_away_is_a_problem_and_no_error():
    got = await queries("http://127.0.0.1:1").ask(["up"])

    assert got["up"].problem.startswith("Prometheus cannot be asked: ")


@pytest.mark.parametrize("url", ["http://[bad", "prometheus:9090", "no address", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none(url: str):
    assert (await queries(url).ask(["up"]))["up"].problem


STORES = {
    "a page that is no JSON": ("<html>", "Prometheus answered in an unknown shape"),
    "JSON of another kind": ("[1]", "Prometheus answered in an unknown shape"),
    "far too much": (
        "x" * 300_000,
        "it gives far more than one number: put sum(...) or max(...) around it",
    ),
    "a proxy's own error": (
        '{"status": "error", "error": "tenant\\n\\nis not allowed"}',
        "tenant is not allowed",
    ),
}


@pytest.mark.parametrize(("text", "problem"), STORES.values(), ids=STORES)
async def test_a_store_that_misbehaves(text: str, problem: str):
    with Page(lambda _: text) as page:
        got = await queries(f"http://127.0.0.1:{page.port}/prometheus", headers={"X-Scope-OrgID": "t"}).ask(
            ["up"]
        )

        assert got["up"] == Answer(problem=problem)
        path, headers = page.requests[0]
        assert path == "/prometheus/api/v1/query?query=up"
        assert headers["X-Scope-OrgID"] == "t"


async def test_a_store_that_never_answers_costs_two_timeouts_at_most():
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    many = [f"up + {at}" for at in range(50)]

    async with asyncio.timeout(WAIT_S):
        got = await queries(f"http://127.0.0.1:{port}", timeout="50ms").ask(many)

    assert got == dict.fromkeys(many, Answer(problem="Prometheus took too long"))
    server.close()


async def test_files_that_cannot_be_read_are_said(tmp_path: Path):
    for broken in ({"caFile": str(tmp_path / "none.crt")}, {"bearerTokenFile": str(tmp_path / "none")}):
        got = await queries("https://127.0.0.1:1", **broken).ask(["up"])

        assert "No such file" in got["up"].problem


async def test_certificates_and_tokens_of_the_settings_are_used(tmp_path: Path):
    authority = Authority(tmp_path)
    server, client = (authority.issue(name, name, hosts=["127.0.0.1"]) for name in ("server", "client"))
    tls = (
        f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}, "
        f"client_auth_type: RequireAndVerifyClientCert, client_ca_file: {authority.pair.cert}}}"
    )
    store = Prometheus(tmp_path, {}, tls=tls)
    try:
        ours = {"clientCertFile": str(client.cert), "clientKeyFile": str(client.key)}
        trusted = queries(store.url, caFile=str(authority.pair.cert), **ours)
        deadline = time.monotonic() + WAIT_S
        while (got := await trusted.ask(["vector(2)"]))["vector(2)"] != Answer(2.0):
            assert time.monotonic() < deadline, got
            await asyncio.sleep(0.2)

        nobody = await queries(store.url, caFile=str(authority.pair.cert)).ask(["vector(2)"])
        assert nobody["vector(2)"].value is None
    finally:
        store.kill()
