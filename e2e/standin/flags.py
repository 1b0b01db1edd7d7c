"""The command line of `vllm serve` as far as the operator writes it, and what only a stand-in can be told.

The latter comes as environment variables, which a ModelTier sets in `vllm.env`:

| variable | meaning |
|---|---|
| STANDIN_PROFILE | how fast it is: a name of plan/profiles.py |
| STANDIN_SPEED | how many seconds of the engine pass in one of the clock |
| STANDIN_START_S | seconds until it listens, by the clock |
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelfleet.plan.engine import Engine
from modelfleet.plan.profiles import PROFILES

PROFILE = "8b-h100"
LENGTH_MAX = 8192


@dataclass(frozen=True, slots=True)
class Options:
    """What one stand-in is told.  Times by the clock, but those of `engine`."""

    name: str  # of the model, as requests say it
    host: str
    port: int
    length_max: int  # of a prompt and its answer, in tokens
    drain_s: float  # how long what runs may go on after SIGTERM
    engine: Engine
    speed: float = 1.0
    start_s: float = 0.0


def options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Ends the process with a message, as vLLM does, where an argument is unknown."""
    given = _parser().parse_args(argv)
    name = environ.get("STANDIN_PROFILE", PROFILE)
    if name not in PROFILES:
        raise SystemExit(f"STANDIN_PROFILE={name}: there are {', '.join(sorted(PROFILES))}")
    return Options(
        name=given.served_model_name or given.model,
        host=given.host,
        port=given.port,
        length_max=given.max_model_len,
        drain_s=given.shutdown_timeout,
        engine=replace(PROFILES[name], sequences_max=given.max_num_seqs),
        speed=_positive(environ, "STANDIN_SPEED", "1"),
        start_s=float(environ.get("STANDIN_START_S", "0")),
    )


def _positive(environ: Mapping[str, str], name: str, default: str) -> float:
    value = float(environ.get(name, default))
    if value <= 0:
        raise SystemExit(f"{name}={value:g} must be above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--max-model-len", type=int, default=LENGTH_MAX)
    parser.add_argument("--shutdown-timeout", type=float, default=0.0)
    # It has no GPU to share; the profile is of as many as it is.
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    return parser
