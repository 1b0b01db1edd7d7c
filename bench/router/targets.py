"""What is compared: how each proxy is told to spread requests 9:1 over the two engines, on one core."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.router import peers
from e2e.cluster import compiled
from modelfleet import names

PROXY_CPU, LOAD_CPU = 0, 1
START_S_MAX = 90.0
NGINX_IDLE = 256


@dataclass(frozen=True)
class Plan:
    """How to start one proxy."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where things are on this machine during one run."""

    folder: Path
    engines: tuple[int, int]
    control: int


@dataclass
class Target:
    """A running proxy, or the engine itself."""

    name: str
    port: int
    pid: int | None  # None: no proxy at all


def nginx(site: Site, port: int) -> Plan:
    small, big = site.engines
    folder = site.folder / "nginx"
    folder.mkdir(exist_ok=True)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  {paths}
  access_log off; keepalive_requests 1000000000; client_max_body_size 8m; client_body_buffer_size 1m;
  upstream engines {{
    least_conn; server 127.0.0.1:{small} weight=9; server 127.0.0.1:{big} weight=1;
    keepalive {NGINX_IDLE}; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_next_upstream error timeout http_502 http_503;
    }}
  }}
}}
""")
    return Plan([str(peers.debian("nginx")), "-c", str(config)])


def envoy(site: Site, port: int) -> Plan:
    program = peers.wheel(peers.ENVOY, "envoy")
    weighted = [{"name": name, "weight": weight} for name, weight in (("small", 90), ("big", 10))]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "weighted_clusters": {"clusters": weighted},
                                "timeout": "0s",
                                "retry_policy": {
                                    "retry_on": "5xx,connect-failure,refused-stream",
                                    "num_retries": 2,
                                },
                            },
                        }
                    ],
                }
            ]
        },
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    clusters = [
        {
            "name": name,
            "type": "STATIC",
            "lb_policy": "LEAST_REQUEST",
            "connect_timeout": "1s",
            "circuit_breakers": {
                "thresholds": [{"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}]
            },
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(engine)}}]}],
            },
        }
        for name, engine in zip(("small", "big"), site.engines, strict=True)
    ]
    config = site.folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "--disable-hot-restart"]
    return Plan([str(program), "-c", str(config), *options])


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def vllm_router(site: Site, port: int) -> Plan:
    program = peers.wheel(peers.VLLM_ROUTER, "vllm-router")
    # It has no weights: both engines are alike to it.
    workers = [f"http://127.0.0.1:{engine}" for engine in site.engines]
    options = ["--policy", "power_of_two", "--log-level", "error", "--max-concurrent-requests", "8192"]
    metrics = ["--prometheus-port", str(port + 1), "--prometheus-host", "127.0.0.1"]
    where = ["--host", "127.0.0.1", "--port", str(port), *metrics]
    return Plan([str(program), "--worker-urls", *workers, *where, *options], {"TOKIO_WORKER_THREADS": "1"})


def litellm(site: Site, port: int) -> Plan:
    program = peers.wheel(peers.LITELLM, "litellm")
    models = [
        {
            "model_name": "bench",
            "litellm_params": {
                "model": "openai/bench",
                "api_base": f"http://127.0.0.1:{engine}/v1",
                "api_key": "none",
                "weight": weight,
            },
        }
        for engine, weight in zip(site.engines, (9, 1), strict=True)
    ]
    config = site.folder / "litellm.json"
    config.write_text(json.dumps({"model_list": models}))
    where = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    quiet = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys, as with the others
    }
    return Plan([str(program), "--config", str(config), *where], quiet)


def ours(router: str) -> Callable[[Site, int], Plan]:
    """Our router, with the table that the stand-in API server has for it."""

    def plan(site: Site, port: int) -> Plan:
        settings = {
            "NAMESPACE": "bench",
            "ROUTER": router,
            "API_SERVER": f"http://127.0.0.1:{site.control}",
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(port),
            "LISTEN_METRICS_PORT": str(port + 1),
            "LOG_LEVEL": "error",
        }
        environment = {f"MODELFLEET_{name}": value for name, value in settings.items()}
        # BENCH_ROUTER_SOURCE: another folder with the package, to compare two versions.
        environment["PYTHONPATH"] = os.environ.get("BENCH_ROUTER_SOURCE") or str(compiled.folder())
        return Plan([str(peers.router_python()), "-m", "modelfleet.cli.route"], environment)

    return plan


OURS, OURS_CASCADE = "ours", "ours_cascade"
PROXIES: dict[str, Callable[[Site, int], Plan]] = {
    "nginx": nginx,
    "envoy": envoy,
    "vllm_router": vllm_router,
    "litellm": litellm,
    OURS: ours(names.SHARED_ROUTER),
    OURS_CASCADE: ours("bench-cascade"),
}


@contextmanager
def pinned(
    command: list[str], cpu: int, *, environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process on one CPU, in a process group of its own that ends with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextmanager
def running(name: str, plan: Plan, port: int, folder: Path) -> Iterator[Target]:
    """A proxy that answers.  Raises peers.Absent when it does not come up."""
    log = folder / f"{name}.log"
    with pinned(plan.command, PROXY_CPU, environment=plan.environment, log=log) as process:
        until = time.monotonic() + START_S_MAX
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise peers.Absent(f"{name} does not answer: {' '.join(log.read_text().split())[-200:]}")
            time.sleep(0.2)
        yield Target(name, port, process.pid)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    ask = {"model": "bench", "messages": [{"role": "user", "content": "hi"}]}
    try:
        fields = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(ask), fields)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
