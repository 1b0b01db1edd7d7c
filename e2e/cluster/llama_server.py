#!/usr/bin/env python3
"""`/app/llama-server` of the test image: the real llama.cpp server out of the xllamacpp wheel, with its own flags.

The public image cannot be pulled where nothing can be pulled.  What runs here is the same server code; only
the command line is ours, so it knows fewer flags, and refuses the others as the real one refuses unknown ones.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the server takes for "auto".
SLOTS_AUTO = 4
DEFAULT_PORT = "8080"


@dataclass(frozen=True)
class Flag:
    """One option: its spellings, its environment variable, and what it sets.  Without `takes` it is a switch."""

    names: tuple[str, ...]
    env: str
    apply: Callable[[Any, str], None]
    takes: bool = True


def _set(attribute: str, kind: Callable[[str], Any] = str) -> Callable[[Any, str], None]:
    def apply(params: Any, value: str) -> None:
        *path, last = attribute.split(".")
        target = params
        for name in path:
            target = getattr(target, name)
        setattr(target, last, kind(value))

    return apply


def _switch(attribute: str, *, to: bool) -> Callable[[Any, str], None]:
    return _set(attribute, lambda _: to)


def _timeout(params: Any, value: str) -> None:
    params.timeout_read = params.timeout_write = int(value)


def _keys(text: str) -> list[str]:
    return [key for key in text.split(",") if key]


def _keys_of_file(file: str) -> list[str]:
    lines = Path(file).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _names(text: str) -> set[str]:
    return {name for name in text.split(",") if name}


FLAGS = (
    Flag(("-m", "--model"), "MODEL", _set("model.path")),
    Flag(("--chat-template",), "CHAT_TEMPLATE", _set("chat_template")),
    Flag(("-a", "--alias"), "ALIAS", _set("model_alias", _names)),
    Flag(("--host",), "HOST", _set("hostnames", lambda text: text.split(","))),
    Flag(("--port",), "PORT", _set("port", int)),
    Flag(("-c", "--ctx-size"), "CTX_SIZE", _set("n_ctx", int)),
    Flag(("-n", "--predict", "--n-predict"), "N_PREDICT", _set("n_predict", int)),
    Flag(("-b", "--batch-size"), "BATCH", _set("n_batch", int)),
    Flag(("-ub", "--ubatch-size"), "UBATCH", _set("n_ubatch", int)),
    Flag(("-np", "--parallel"), "N_PARALLEL", _set("n_parallel", int)),
    Flag(("-t", "--threads"), "THREADS", _set("cpuparams.n_threads", int)),
    Flag(("-tb", "--threads-batch"), "", _set("cpuparams_batch.n_threads", int)),
    Flag(("--threads-http",), "THREADS_HTTP", _set("n_threads_http", int)),
    Flag(("-to", "--timeout"), "TIMEOUT", _timeout),
    Flag(("-s", "--seed"), "", _set("sampling.seed", int)),
    Flag(("--temp", "--temperature"), "TEMPERATURE", _set("sampling.temp", float)),
    Flag(("--cache-ram", "-cram"), "CACHE_RAM", _set("cache_ram_mib", int)),
    Flag(("--api-key",), "", _set("api_keys", _keys)),
    Flag(("--api-key-file",), "API_KEY_FILE", _set("api_keys", _keys_of_file)),
    Flag(("--ssl-key-file",), "SSL_KEY_FILE", _set("ssl_file_key")),
    Flag(("--ssl-cert-file",), "SSL_CERT_FILE", _set("ssl_file_cert")),
    Flag(("-lv", "--verbosity", "--log-verbosity"), "LOG_VERBOSITY", _set("verbosity", int)),
    Flag(("--metrics",), "", _switch("endpoint_metrics", to=True), takes=False),
    Flag(("--slots",), "", _switch("endpoint_slots", to=True), takes=False),
    Flag(("--no-slots",), "", _switch("endpoint_slots", to=False), takes=False),
    Flag(("--props",), "", _switch("endpoint_props", to=True), takes=False),
    Flag(("--jinja",), "", _switch("use_jinja", to=True), takes=False),
    Flag(("--no-jinja",), "", _switch("use_jinja", to=False), takes=False),
    Flag(("--warmup",), "", _switch("warmup", to=True), takes=False),
    Flag(("--no-warmup",), "", _switch("warmup", to=False), takes=False),
    Flag(("--cache-prompt",), "", _switch("cache_prompt", to=True), takes=False),
    Flag(("--no-cache-prompt",), "", _switch("cache_prompt", to=False), takes=False),
    Flag(("-kvu", "--kv-unified"), "", _switch("kv_unified", to=True), takes=False),
    Flag(("-no-kvu", "--no-kv-unified"), "", _switch("kv_unified", to=False), takes=False),
    Flag(("-cb", "--cont-batching"), "", _switch("cont_batching", to=True), takes=False),
    Flag(("-nocb", "--no-cont-batching"), "", _switch("cont_batching", to=False), takes=False),
)
BY_NAME = {name: flag for flag in FLAGS for name in flag.names}


class BadArgument(ValueError):
    """Worded as the real server words it."""


def configure(params: Any, argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Set `params` (xllamacpp's CommonParams) from environment and command line; the latter wins."""
    params.port = int(DEFAULT_PORT)
    params.n_parallel, params.kv_unified = SLOTS_AUTO, True
    given = list(_from_environment(environ)) + list(_from_command_line(argv))
    if any("--parallel" in flag.names for flag, _ in given):
        params.kv_unified = False
    for flag, value in given:
        try:
            flag.apply(params, value)
        except (ValueError, OSError) as error:
            raise BadArgument(f'error while handling argument "{flag.names[-1]}": {error}') from error


def _from_environment(environ: Mapping[str, str]) -> list[tuple[Flag, str]]:
    names = {f"LLAMA_ARG_{flag.env}": flag for flag in FLAGS if flag.env}
    return [(flag, environ[name]) for name, flag in names.items() if environ.get(name)]


def _from_command_line(argv: Sequence[str]) -> list[tuple[Flag, str]]:
    given, words = [], list(argv)
    while words:
        word = words.pop(0)
        # Like the real one: no `--flag=value`, no abbreviation, no positional argument.
        flag = BY_NAME.get(word)
        if flag is None:
            raise BadArgument(f"error: invalid argument: {word}")
        if flag.takes and not words:
            raise BadArgument(f'error while handling argument "{word}": expected value for argument')
        given.append((flag, words.pop(0) if flag.takes else ""))
    return given


def main() -> int:
    import xllamacpp  # noqa: PLC0415  (absent where only the command line is tested)

    params = xllamacpp.CommonParams()
    try:
        configure(params, sys.argv[1:], os.environ)
    except BadArgument as error:
        print(error, file=sys.stderr)
        return 1
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", file=sys.stderr, flush=True)
    stopping.wait()
    # The server's own end: it refuses newcomers, cancels what runs, and waits for its clients to leave.
    del server
    return 0


if __name__ == "__main__":
    sys.exit(main())
