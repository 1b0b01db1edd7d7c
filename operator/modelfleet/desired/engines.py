"""The engines as a table: what to run, how to ask it whether it lives, and how it stops without losing a request.

Both engines lose requests on SIGTERM, each in its own way, so draining comes first:
llama.cpp cancels what runs and never answers it, so preStop waits until nothing runs;
vLLM refuses what is new and, with --shutdown-timeout, finishes what runs, so preStop only waits until the pod has
left its endpoints.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelfleet import names
from modelfleet.api.meta import EnvVar, Manifest, seconds
from modelfleet.api.model_tier import ModelTier

ENDPOINT_DELAY_S = 5  # for every router and kube-proxy to see that the pod is terminating
EXIT_S = 20  # between the end of the drain and SIGKILL
STARTUP_PERIOD_S = 2
CACHE_FOLDER = "/cache"
# llama.cpp holds one HTTP thread per waiting request and per idle connection, and /health needs one as well:
# with the default (slots + 2) a busy server looks dead.
HTTP_THREADS_MIN = 128
HTTP_THREADS_PER_SLOT = 4


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table.  Functions take the tier and return plain JSON."""

    name: str
    command: tuple[str, ...]
    arguments: Callable[[ModelTier, str], list[str]]  # (tier, path of the model in the pod)
    environment: Callable[[ModelTier], list[Manifest]]
    pre_stop: Callable[[int], Manifest]  # drain limit in seconds
    read_only_root: bool
    shared_memory: bool


def of(tier: ModelTier) -> Engine | None:
    """The row of the tier's engine; None for an external API."""
    if tier.spec.vllm is not None:
        return VLLM
    return LLAMA_CPP if tier.spec.llama_cpp is not None else None


def drain_s(tier: ModelTier) -> int:
    """How long a stopping pod may finish its requests, in whole seconds."""
    return math.ceil(seconds(tier.spec.rollout.drain_timeout))


def grace_s(tier: ModelTier) -> int:
    """terminationGracePeriodSeconds: more than everything that happens before the engine leaves by itself."""
    return ENDPOINT_DELAY_S + drain_s(tier) + EXIT_S


def probes(tier: ModelTier) -> Manifest:
    """Loading is the startup probe's business alone; a liveness probe would kill a model that loads."""
    health = {"path": "/health", "port": names.PORT_HTTP}
    startup_s = seconds(tier.spec.rollout.startup_timeout)
    return {
        "startupProbe": {
            "httpGet": dict(health),
            "periodSeconds": STARTUP_PERIOD_S,
            "timeoutSeconds": 2,
            "failureThreshold": max(1, math.ceil(startup_s / STARTUP_PERIOD_S)),
        },
        "readinessProbe": {
            "httpGet": dict(health),
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        # A minute and more of silence: a busy engine answers late, a dead one never.
        "livenessProbe": {
            "httpGet": dict(health),
            "periodSeconds": 15,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
    }


def _llama_arguments(tier: ModelTier, model: str) -> list[str]:
    engine = tier.spec.llama_cpp
    assert engine is not None
    http_threads = max(HTTP_THREADS_MIN, HTTP_THREADS_PER_SLOT * engine.slots)
    return [
        *("--model", model),
        *("--alias", tier.served_name),
        *("--host", "0.0.0.0"),  # noqa: S104  the pod's own network
        *("--port", str(names.ENGINE_PORT)),
        *("--ctx-size", str(engine.context_length)),
        *("--parallel", str(engine.slots)),
        *("--threads-http", str(http_threads)),
        *(("--threads", str(engine.threads)) if engine.threads else ()),
        "--metrics",
        *engine.args,
    ]


def _llama_environment(tier: ModelTier) -> list[Manifest]:
    engine = tier.spec.llama_cpp
    assert engine is not None
    return _with_users({"HOME": CACHE_FOLDER}, engine.env)


# Idle twice in a row, a second apart: the next request may be between two threads.  A server too busy to answer
# counts as busy.  bash speaks HTTP by itself; it is in the public image, as are grep, sleep and timeout.
_LLAMA_DRAIN = f"""\
load() {{
  timeout 3 bash -c '
    exec 3<>/dev/tcp/127.0.0.1/{names.ENGINE_PORT}
    printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3
    grep -E "^llamacpp:requests_(processing|deferred) " <&3'
}}
sleep {ENDPOINT_DELAY_S}
idle=0
end=$((SECONDS + $0))
while [ "$SECONDS" -lt "$end" ] && [ "$idle" -lt 2 ]; do
  if now=$(load) && [[ ! $now =~ " "[0-9.]*[1-9] ]]; then idle=$((idle + 1)); else idle=0; fi
  sleep 1
done
"""


def _with_users(ours: Mapping[str, str], users: Sequence[EnvVar]) -> list[Manifest]:
    """Our variables and the user's, which win; a name may stand in the list only once."""
    merged = {**ours, **{env.name: env.value for env in users}}
    return [{"name": name, "value": value} for name, value in sorted(merged.items())]


def _llama_pre_stop(limit_s: int) -> Manifest:
    return {"exec": {"command": ["/bin/bash", "-c", _LLAMA_DRAIN, str(limit_s)]}}


def _vllm_arguments(tier: ModelTier, model: str) -> list[str]:
    engine = tier.spec.vllm
    assert engine is not None
    return [
        model,
        *("--served-model-name", tier.served_name),
        *("--host", "0.0.0.0"),  # noqa: S104  the pod's own network
        *("--port", str(names.ENGINE_PORT)),
        *("--max-num-seqs", str(engine.max_num_seqs)),
        *("--tensor-parallel-size", str(tensor_parallel_size(tier))),
        *(("--max-model-len", str(engine.max_model_len)) if engine.max_model_len else ()),
        *("--shutdown-timeout", str(drain_s(tier))),  # 0, the default, answers 500 to all that runs
        *engine.args,
    ]


def tensor_parallel_size(tier: ModelTier) -> int:
    """GPUs that one replica of a vLLM tier spans."""
    engine = tier.spec.vllm
    assert engine is not None
    if engine.tensor_parallel_size is not None:
        return engine.tensor_parallel_size
    return tier.spec.node_pool.count if tier.spec.node_pool else 1


def _vllm_environment(tier: ModelTier) -> list[Manifest]:
    engine = tier.spec.vllm
    assert engine is not None
    folders = {
        "HOME": CACHE_FOLDER,
        "HF_HOME": f"{CACHE_FOLDER}/huggingface",
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE_FOLDER}/inductor",
        "TRITON_CACHE_DIR": f"{CACHE_FOLDER}/triton",
        "VLLM_CACHE_ROOT": f"{CACHE_FOLDER}/vllm",
        "XDG_CACHE_HOME": f"{CACHE_FOLDER}/xdg",
    }
    # getpass.getuser() inside torch fails for a user that is not in the image's passwd file.
    fixed = {"HF_HUB_OFFLINE": "1", "USER": names.MANAGER, "VLLM_NO_USAGE_STATS": "1"}
    return _with_users({**folders, **fixed}, engine.env)


def _vllm_pre_stop(limit_s: int) -> Manifest:  # noqa: ARG001  the engine itself bounds the rest
    return {"sleep": {"seconds": ENDPOINT_DELAY_S}}


LLAMA_CPP = Engine(
    name="llamaCpp",
    command=("/app/llama-server",),
    arguments=_llama_arguments,
    environment=_llama_environment,
    pre_stop=_llama_pre_stop,
    read_only_root=True,
    shared_memory=False,
)
VLLM = Engine(
    name="vllm",
    command=("vllm", "serve"),
    arguments=_vllm_arguments,
    environment=_vllm_environment,
    pre_stop=_vllm_pre_stop,
    read_only_root=False,  # the NVIDIA container hook writes into the root
    shared_memory=True,
)
