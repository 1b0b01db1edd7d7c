"""Start the router: `modelfleet-router`.  Everything comes from the environment of its pod."""

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import random
import sys
import time
from typing import Any

import orjson
import uvloop

from modelfleet import names
from modelfleet.adapters.kubewatch import ApiServer, Objects, Resource, Watch
from modelfleet.router.access_log import AccessLog
from modelfleet.router.app import App, Ports
from modelfleet.router.keys import KeyRing
from modelfleet.router.metrics import RouterMetrics
from modelfleet.router.recorder import Recorder
from modelfleet.router.secrets import Secrets
from modelfleet.router.state import State
from modelfleet.router.tracing import Tracing

# glibc's names for what mallopt changes, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 8 << 20
_NEW_OBJECTS = 10_000  # between two looks; an answer with log probabilities is hundreds
_LOG_LEVELS = ("debug", "info", "warning", "error")
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, message, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def main() -> None:
    """Entry point of the router's image."""
    args = _arguments()
    _log_json(args.log_level)
    _keep_freed_memory()
    _look_less_for_cycles()
    try:
        server = _api_server(args)
    except KeyError as err:
        sys.exit(f"modelfleet-router: {err.args[0]} is not set; run inside a cluster, or give --api-server")
    uvloop.run(_serve(args, server))


def _keep_freed_memory() -> None:
    """Large prompts come and go: giving their pages back each time costs as much as reading them does.

    So a freed block stays with the process, up to some MiB in all.  Only glibc has the knob.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def _look_less_for_cycles() -> None:
    """Each look at all objects stops all streams, and a request leaves no cycles behind.

    What was imported stays for good: looking at that too took tens of milliseconds.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


async def _serve(args: argparse.Namespace, server: ApiServer) -> None:
    loop = asyncio.get_running_loop()
    secrets = Secrets()
    keys = KeyRing(args.api_keys, now=loop.time) if args.api_keys else None
    lines = AccessLog(sys.stdout.fileno(), loop=loop, clock=time.time)
    tracing = Tracing(loop=loop, spin=random.random)
    metrics = RouterMetrics(args.namespace)
    metrics.access_log = lines
    state = State(
        metrics=metrics,
        secrets=secrets,
        loop=loop,
        router=args.router,
        keys=keys,
        recorder=Recorder(lines, tracing, spin=random.random),
    )
    app = App(
        state,
        refresh_secrets=secrets.refresh,
        loop=loop,
        ports=Ports(args.host, args.port, args.metrics_port),
    )
    watches = [watch.run() for watch in _watches(server, args.namespace, args.router, state)]
    await app.run([*watches, follow_existing(server, args.namespace, state)])
    lines.close()
    await loop.run_in_executor(None, tracing.close)


def _watches(server: ApiServer, namespace: str, router: str, state: State) -> list[Watch]:
    def tables(found: Objects) -> None:
        state.config_maps_changed(found, now_s=time.time())

    return [
        Watch(
            server,
            Resource(
                f"/api/v1/namespaces/{namespace}/configmaps",
                field_selector=f"metadata.name={names.route_table(router)}",
            ),
            tables,
        ),
        # Slices carry the labels of their Service, and only tiers have this one.
        Watch(
            server,
            Resource(
                f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                label_selector=names.LABEL_TIER,
            ),
            state.endpoint_slices_changed,
        ),
    ]


async def follow_existing(server: ApiServer, namespace: str, state: State) -> None:
    """Watch the endpoints of Services that are not the operator's, while the route table names any."""
    while True:
        state.services_changed.clear()
        named = ",".join(sorted(state.services))
        watch = Watch(
            server,
            Resource(
                f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                label_selector=f"{names.LABEL_SERVICE} in ({named})",
            ),
            state.existing_slices_changed,
        )
        following = asyncio.create_task(watch.run()) if named else None
        try:
            await state.services_changed.wait()
        finally:
            if following is not None:
                following.cancel()


def _api_server(args: argparse.Namespace) -> ApiServer:
    if args.api_server:
        return ApiServer(url=args.api_server, ca_file=args.api_ca or None, token=args.api_token or None)
    return ApiServer.in_cluster(os.environ)


def _arguments() -> argparse.Namespace:
    def setting(name: str, default: str) -> str:
        return os.environ.get(f"MODELFLEET_{name}", default)

    parser = argparse.ArgumentParser(prog="modelfleet-router", description=__doc__)
    parser.add_argument(
        "--namespace", default=setting("NAMESPACE", "default"), help="where tiers and table are"
    )
    parser.add_argument(
        "--router", default=setting("ROUTER", names.SHARED_ROUTER), help="name of this router"
    )
    # Not ROUTER_PORT: for a Service called modelfleet-router, Kubernetes may set MODELFLEET_ROUTER_PORT itself.
    parser.add_argument("--host", default=setting("LISTEN_HOST", "0.0.0.0"), help="address to listen on")  # noqa: S104 - a pod
    # Defaults stay text here: the parser judges them as it does arguments.
    parser.add_argument("--port", type=int, default=setting("LISTEN_PORT", str(names.ROUTER_PORT)))
    parser.add_argument(
        "--metrics-port", type=int, default=setting("LISTEN_METRICS_PORT", str(names.ROUTER_METRICS_PORT))
    )
    parser.add_argument(
        "--api-keys", default=setting("API_KEYS", ""), help="folder of API keys; without it nobody needs one"
    )
    parser.add_argument("--log-level", type=_log_level, default=setting("LOG_LEVEL", "info"))
    parser.add_argument("--api-server", default=setting("API_SERVER", ""), help="URL, outside a cluster")
    parser.add_argument("--api-ca", default=setting("API_CA", ""), help="CA file of --api-server")
    parser.add_argument("--api-token", default=setting("API_TOKEN", ""), help="bearer token for --api-server")
    return parser.parse_args()


def _log_level(text: str) -> str:
    if text.lower() not in _LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(_LOG_LEVELS)})")
    return text.upper()


def _log_json(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request with its URL


if __name__ == "__main__":
    main()
