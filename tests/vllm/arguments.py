"""The command lines we build for vLLM, parsed by vLLM itself; `make test-vllm` runs this.

The name keeps it out of `make test`: the real vLLM takes 6 GB.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelfleet.api.engine_flags import VLLM as MANAGED
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired.engines import VLLM

PARSER = Path(__file__).with_name("parse.py")
SPEC: Manifest = {"model": {"uri": "hf://Qwen/Qwen3-0.6B"}, "vllm": {}}


def tier(**engine: Any) -> ModelTier:
    spec = {**SPEC, "vllm": engine, "rollout": {"drainTimeout": "90s"}}
    meta = {"name": "big", "namespace": "team", "uid": "u"}
    return ModelTier.model_validate({"metadata": meta, "spec": spec})


def built(**engine: Any) -> list[str]:
    """All that follows `vllm` in the container's command."""
    return [*VLLM.command[1:], *VLLM.arguments(tier(**engine), "/models/m")]


ALWAYS = {
    "model_tag": "/models/m",
    "served_model_name": ["big"],
    "host": "0.0.0.0",
    "port": 8000,
    "shutdown_timeout": 90,
    "tensor_parallel_size": 1,
    "max_num_seqs": 256,
}
ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the smallest tier": ({}, ALWAYS),
    "every field": (
        {"maxModelLen": 4096, "maxNumSeqs": 64, "tensorParallelSize": 4},
        {**ALWAYS, "max_model_len": 4096, "max_num_seqs": 64, "tensor_parallel_size": 4},
    ),
    "the user's arguments come through": (
        {"args": ["--gpu-memory-utilization=0.85", "--enable-prefix-caching", "--seed", "7"]},
        {**ALWAYS, "gpu_memory_utilization": 0.85, "enable_prefix_caching": True, "seed": 7},
    ),
    "with underscores, which vLLM takes, too": (
        {"args": ["--gpu_memory_utilization", "0.5"]},
        {**ALWAYS, "gpu_memory_utilization": 0.5},
    ),
    "quantized, with a chat template and tools": (
        {"args": ["--quantization=awq", "--enable-auto-tool-choice", "--tool-call-parser=hermes"]},
        {**ALWAYS, "quantization": "awq", "enable_auto_tool_choice": True, "tool_call_parser": "hermes"},
    ),
}
REFUSED: dict[str, dict[str, Any]] = {
    "a flag that does not exist": {"args": ["--no-such-flag"]},
    "a number that is none": {"args": ["--seed=seven"]},
}


HELP = "help"  # vLLM prints it and exits, which looks like a refusal


@pytest.fixture(scope="module")
def vllm() -> dict[str, dict[str, Any]]:
    """What vLLM says to every command line of this file, in one start of it (20 s)."""
    lines = {name: built(**engine) for name, (engine, _) in ACCEPTED.items()}
    lines |= {name: built(**engine) for name, engine in REFUSED.items()}
    lines[HELP] = ["serve", "--help=all"]
    python = Path(os.environ["MODELFLEET_VLLM"]) / "bin" / "python"
    done = subprocess.run(
        [python, PARSER],
        input="\n".join(json.dumps(line) for line in lines.values()),
        capture_output=True,
        text=True,
        env={**os.environ, "VLLM_TARGET_DEVICE": "cpu", "VLLM_NO_USAGE_STATS": "1", "COLUMNS": "200"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip(lines, answers, strict=True))


@pytest.mark.parametrize("row", ACCEPTED)
def test_vllm_understands_what_we_meant(vllm: dict[str, dict[str, Any]], row: str):
    answer = vllm[row]

    assert "values" in answer, answer
    want = ACCEPTED[row][1]
    assert {name: answer["values"].get(name) for name in want} == want


@pytest.mark.parametrize("row", REFUSED)
def test_what_vllm_refuses_is_refused_before_it_starts(vllm: dict[str, dict[str, Any]], row: str):
    assert vllm[row].keys() == {"error"}


@pytest.mark.parametrize("flag", [flag for group in MANAGED for flag in group.flags])
def test_every_flag_that_users_may_not_set_is_one_of_vllm(vllm: dict[str, dict[str, Any]], flag: str):
    assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", vllm[HELP]["error"])
