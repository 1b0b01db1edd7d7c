"""Traces as their publishers write them; the files here are made up."""

import gzip
import json
from pathlib import Path

import pytest

from modelfleet.sim import traces


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_azure_counts_from_its_first_request(tmp_path: Path):
    path = write(
        tmp_path / "azure.csv.gz",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:16:46.6805900,396,0\n",
    )
    found = list(traces.azure(path))

    assert [(round(one.at_s, 3), one.prompt, one.output) for one in found] == [(0.0, 374, 44), (60.0, 396, 1)]


@pytest.mark.parametrize(
    ("blocks", "cached"),
    [
        pytest.param(10, [0, 1024, 512], id="enough memory: the shared beginnings"),
        pytest.param(0, [0, 0, 0], id="no memory: nothing"),
        pytest.param(2, [0, 0, 512], id="little memory: the beginning was pushed out"),
    ],
)
def test_mooncake_shares_the_blocks_that_are_remembered(tmp_path: Path, blocks: int, cached: list[int]):
    rows = [[1, 2, 3], [1, 2, 4], [1, 9]] if blocks != 2 else [[1, 2, 3], [1, 2], [1, 9]]
    lines = [
        json.dumps({"timestamp": 500 * at, "input_length": 2000, "output_length": 7, "hash_ids": ids})
        for at, ids in enumerate(rows)
    ]
    found = list(traces.mooncake(write(tmp_path / "m.jsonl.gz", "\n".join(lines)), cached_blocks=blocks))

    assert [one.cached for one in found] == cached
    assert [one.at_s for one in found] == [0.0, 0.5, 1.0]


def test_servegen_is_scaled_as_a_whole_and_in_order(tmp_path: Path):
    rows = [
        f"{600 * at},{client},{rate},1.0,{family}"
        for client, rate, family in ((0, 3.0, "G"), (1, 1.0, "W"))
        for at in range(288)
    ]
    write(
        tmp_path / "servegen_x_clients.csv.gz", "t_s,client,rate_rps,iat_cv,family\n" + "\n".join(rows) + "\n"
    )
    lengths = "window_start_s,field,requests_covered,mean,q50,q99\nall,input_tokens,9,9,100,100\nall,output_tokens,9,9,20,20\n"
    write(tmp_path / "servegen_x_lengths6h.csv.gz", lengths)
    found = list(traces.servegen(tmp_path, "x", mean_rps=2.0, day=1, days=1 / 24))
    times = [one.at_s for one in found]

    assert len(found) == pytest.approx(2.0 * 3600, rel=0.02)
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 3600
    assert {(one.prompt, one.output) for one in found} == {(100, 20)}
