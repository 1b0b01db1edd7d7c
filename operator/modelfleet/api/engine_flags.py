"""Engine arguments and variables that belong to the operator, and the field to write instead.

A user's `args` may add anything, except what the operator itself passes or relies on: a second `--port` would make a
pod that never becomes ready.  vLLM's parser takes `_` for `-` and any unambiguous prefix of a flag; llama-server
takes `_` for `-` and whole flags only.
"""

from dataclasses import dataclass

from modelfleet.api.cel import Rule, literal

# The flag in one list item: `--max_model_len=4096` and `--max-model-len 4096` are both --max-model-len.  A dot, too,
# ends it: vLLM's parser makes `--model.a=1` a JSON value of --model.
_FLAG = "self.split('=')[0].split(' ')[0].split('.')[0].replace('_', '-')"


@dataclass(frozen=True, slots=True)
class Managed:
    """Flags with one meaning, and what to write instead of them."""

    flags: tuple[str, ...]
    instead: str


VLLM = (
    Managed(("--model",), "set spec.model.uri"),
    Managed(("--revision",), "set spec.model.revision"),
    Managed(("--served-model-name",), "set spec.model.servedName"),
    Managed(("--max-model-len",), "set spec.vllm.maxModelLen"),
    Managed(("--max-num-seqs",), "set spec.vllm.maxNumSeqs"),
    Managed(("--tensor-parallel-size", "-tp"), "set spec.vllm.tensorParallelSize"),
    Managed(("--shutdown-timeout",), "set spec.rollout.drainTimeout"),
    Managed(("--config",), "write each argument into args, or set its field in spec.vllm"),
    Managed(("--api-key",), "leave it out: only the router talks to the engine, and it sends no key"),
    Managed(
        ("--host", "--port", "--uds", "--root-path", "--grpc", "--grpc-port", "--headless"),
        "leave it out: the operator sets where the engine listens",
    ),
    Managed(
        ("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--ssl-cert-reqs"),
        "leave it out: the router talks plain HTTP to the engine",
    ),
)

LLAMA_CPP = (
    Managed(
        ("-m", "--model", "-mu", "--model-url", "-dr", "--docker-repo", "--models-dir", "--models-preset"),
        "set spec.model.uri and spec.model.file",
    ),
    Managed(("-hf", "-hfr", "--hf-repo", "-hff", "--hf-file"), "set spec.model.uri to hf://owner/repository"),
    Managed(("-hft", "--hf-token"), "set spec.model.credentialsSecretRef"),
    Managed(("-a", "--alias"), "set spec.model.servedName"),
    Managed(("-c", "--ctx-size"), "set spec.llamaCpp.contextLength"),
    Managed(("-np", "--parallel"), "set spec.llamaCpp.slots"),
    Managed(("-t", "--threads"), "set spec.llamaCpp.threads"),
    Managed(("--threads-http",), "leave it out: the operator derives it from spec.llamaCpp.slots"),
    Managed(("--metrics",), "leave it out: the operator always turns metrics on"),
    Managed(
        ("--api-key", "--api-key-file"),
        "leave it out: only the router talks to the engine, and it sends no key",
    ),
    Managed(
        ("--host", "--port", "--reuse-port", "--api-prefix"),
        "leave it out: the operator sets where the engine listens",
    ),
    Managed(("--ssl-key-file", "--ssl-cert-file"), "leave it out: the router talks plain HTTP to the engine"),
)


def vllm_arg_rules() -> tuple[Rule, ...]:
    """Rules for one item of vLLM's args."""
    return tuple(
        Rule(
            f"!self.matches('^--?[a-zA-Z]') || !{literal(group.flags)}.exists(f, f.startsWith({_FLAG}))",
            _message(group),
        )
        for group in VLLM
    )


def llama_cpp_arg_rules() -> tuple[Rule, ...]:
    """Rules for one item of llama-server's args."""
    return tuple(Rule(f"!({_FLAG} in {literal(group.flags)})", _message(group)) for group in LLAMA_CPP)


def _message(group: Managed) -> str:
    return f"{' / '.join(group.flags)} is not for args: {group.instead}"


FLAGS_FIRST = Rule(
    "self.size() == 0 || self[0].startsWith('-')",
    "args start with a flag such as --seed; the model is given by spec.model",
)
VLLM_ENV = Rule(
    "!self.exists(e, e.name in ['VLLM_API_KEY', 'VLLM_PORT'])",
    "VLLM_API_KEY and VLLM_PORT are not for env: the operator sets where the engine listens, "
    "and the router sends no key",
)
LLAMA_CPP_ENV = Rule(
    "!self.exists(e, e.name.startsWith('LLAMA_ARG_') || e.name == 'LLAMA_API_KEY')",
    "LLAMA_ARG_* and LLAMA_API_KEY are not for env: use the fields of spec.llamaCpp, or write the flag into args",
)
