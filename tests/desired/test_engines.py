import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import engines
from tests.make import external_tier, tier, vllm_tier


def test_each_engine_has_a_row():
    assert engines.of(tier()) is engines.LLAMA_CPP
    assert engines.of(vllm_tier()) is engines.VLLM
    assert engines.of(external_tier()) is None


@pytest.mark.parametrize("spec", [tier(), vllm_tier()], ids=["llama.cpp", "vLLM"])
def test_the_pod_is_killed_only_after_its_drain(spec: ModelTier):
    assert engines.grace_s(spec) > engines.ENDPOINT_DELAY_S + engines.drain_s(spec)


def test_the_startup_probe_waits_for_the_whole_budget():
    probe = engines.probes(tier(rollout={"startupTimeout": "5m"}))["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] == 300


def test_vllm_spans_the_gpus_it_is_given():
    assert engines.tensor_parallel_size(vllm_tier()) == 2
    assert engines.tensor_parallel_size(vllm_tier(nodePool=None)) == 1
    assert engines.tensor_parallel_size(vllm_tier(vllm={"tensorParallelSize": 8})) == 8


def test_a_users_variable_replaces_ours():
    env = engines.LLAMA_CPP.environment(tier(llamaCpp={"env": [{"name": "HOME", "value": "/data"}]}))

    assert env == [{"name": "HOME", "value": "/data"}]


class Engine(ThreadingHTTPServer):
    """Answers /metrics as llama.cpp does; `busy` is what each scrape says, the last one for good."""

    def __init__(self, busy: list[int]) -> None:
        self.busy = busy
        self.scrapes = 0
        super().__init__(("127.0.0.1", 0), Metrics)


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        engine = self.server
        assert isinstance(engine, Engine)
        busy = engine.busy[min(engine.scrapes, len(engine.busy) - 1)]
        engine.scrapes += 1
        self.send_response(200)
        self.end_headers()
        text = f"# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing {busy}\n"
        self.wfile.write(f"{text}llamacpp:requests_deferred 0\nllamacpp:n_decode_total 9\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    server = Engine(request.param)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def drain(port: int, *, limit_s: int) -> int:
    """Run the real preStop command, against another port and without the wait for endpoints."""
    [_, _, script, _] = engines.LLAMA_CPP.pre_stop(limit_s)["exec"]["command"]
    script = script.replace("/8000", f"/{port}").replace(f"sleep {engines.ENDPOINT_DELAY_S}", ":")
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-c", script, str(limit_s)], timeout=60, check=False).returncode


@pytest.mark.parametrize("engine", [[2, 1, 0, 0]], indirect=True)
def test_a_llama_cpp_pod_waits_until_nothing_runs(engine: Engine):
    assert drain(engine.server_address[1], limit_s=30) == 0
    assert engine.scrapes == 4


@pytest.mark.parametrize("engine", [[0, 1, 0, 0]], indirect=True)
def test_one_idle_moment_between_two_requests_is_not_the_end(engine: Engine):
    assert drain(engine.server_address[1], limit_s=30) == 0
    assert engine.scrapes == 4


@pytest.mark.parametrize("engine", [[3]], indirect=True)
def test_a_drain_ends_at_its_limit(engine: Engine):
    assert drain(engine.server_address[1], limit_s=2) == 0
    assert engine.scrapes >= 1
