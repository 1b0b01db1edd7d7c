"""What nobody asked the router to touch: requests reach the engine and answers the client as they were said."""

from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import AcceptRule
from tests.router.rig import (
    DONE,
    SSE_HEAD,
    USAGE,
    cascade,
    chunk,
    engines,
    one_tier,
    post,
    raw,
    reply,
    router,
    stream,
    tier,
    token,
)

TOOL = {
    "type": "function",
    "function": {"name": "add", "strict": True, "parameters": {"type": "object", "properties": {"a": {}}}},
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 9000}}
ASKED: dict[str, dict[str, Any]] = {
    "tools": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "add"}}},
    "tools it may leave": {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    "a form": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    "several choices": {"n": 3, "temperature": 1.5},
    "log probabilities": {"logprobs": True, "top_logprobs": 5},
    "log probabilities turned off": {"logprobs": False},
    "an image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]},
    "sampling": {"seed": -(2**63), "top_p": 1e-7, "presence_penalty": -2, "logit_bias": {"50256": -100}},
    "limits": {"max_completion_tokens": 7, "stop": ["\n", "\u2028"]},
    "what only vLLM knows": {"guided_regex": "[0-9]+", "min_p": 0.0, "chat_template_kwargs": {"think": None}},
    "what only llama.cpp knows": {"cache_prompt": True, "n_probs": 2, "grammar": 'root ::= "a"'},
    "what nobody knows": {"x-unknown": [None, {"": []}, "\U0001f600"]},
    "nothing": {},
    "nulls": {"stream": None, "stream_options": None, "user": None},
}  # fmt: skip
ANSWER = {"choices": [{"index": 0, "message": {"content": "x"}, "logprobs": None, "finish_reason": "stop"}]}


@pytest.mark.parametrize("fields", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_engine_gets_what_the_client_sent(fields: dict[str, Any], path: str):
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **fields}
    async with one_tier([reply(ANSWER)]) as (rig, (engine,)):
        answer = await rig.ask(post(body, path=path))

        assert answer.status == 200
        assert orjson.loads(engine.asked[0].body) == {**body, "model": "small-served"}
        assert engine.asked[0].head.startswith(f"POST {path} HTTP/1.1\r\n".encode())


STREAMED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing more": ({}, {"include_usage": True}),
    "usage": ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
    "another option": ({"stream_options": {"x": [1]}}, {"x": [1], "include_usage": True}),
}


@pytest.mark.parametrize(("fields", "options"), STREAMED.values(), ids=STREAMED)
async def test_of_a_stream_the_engine_is_asked_for_usage_too(fields: dict[str, Any], options: dict[str, Any]):
    async with one_tier([stream(token("a"), DONE)]) as (rig, (engine,)):
        await rig.ask(post(stream=True, **fields))

        asked = orjson.loads(engine.asked[0].body)
        assert asked == {
            "model": "small-served",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": options,
        }


JUDGED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "vLLM": ("vllm", {}, {"logprobs": True, "top_logprobs": 0}),
    "vLLM, whose client wants more": ("vllm", {"logprobs": True, "top_logprobs": 5}, {}),
    "llama.cpp": ("llamaCpp", {}, {"logprobs": True, "top_logprobs": 1}),
    "llama.cpp with tools": ("llamaCpp", {"tools": [TOOL]}, {"logprobs": True, "top_logprobs": 1}),
    "an API": ("external", {"n": 2, "seed": 3}, {"logprobs": True}),
}


@pytest.mark.parametrize(("engine", "fields", "added"), JUDGED.values(), ids=JUDGED)
async def test_judging_adds_the_least(engine: str, fields: dict[str, Any], added: dict[str, Any]):
    told = {"content": [{"token": "x", "logprob": -0.1, "top_logprobs": []}]}
    sure = {"choices": [{**ANSWER["choices"][0], "logprobs": told}]}
    async with engines([reply(sure)], [reply(ANSWER)]) as (small, big):
        rule = AcceptRule("MeanLogprob", -9.0)
        route = cascade(tier("small", weight=1000, accept=rule, engine=engine), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(post(**fields))
            body = {"model": "small-served", "messages": [{"role": "user", "content": "hi"}], **fields}

            assert orjson.loads(small.asked[0].body) == {**body, **added}
            assert orjson.loads(answer.body) == (sure if "logprobs" in fields else ANSWER)


async def test_of_several_choices_the_worst_is_judged():
    said = [
        {"index": index, "message": {"content": "x"}, "finish_reason": "stop"}
        | {"logprobs": {"content": [{"token": "x", "logprob": logprob}]}}
        for index, logprob in enumerate((-0.1, -5.0, -0.2))
    ]
    async with engines([reply({"choices": said})], [reply(ANSWER)]) as (small, big):
        rule = AcceptRule("MeanLogprob", -1.0)
        route = cascade(tier("small", weight=1000, accept=rule, engine="vllm"), tier("big"))
        async with router(route, {"small-svc": [small.port], "big-svc": [big.port]}) as rig:
            answer = await rig.ask(post(n=3))

            assert answer.headers["x-modelfleet-tier"] == "big"
            assert orjson.loads(big.asked[0].body)["n"] == 3


SAID: dict[str, bytes] = {
    "odd spaces and escapes": b'{ "choices" :\n[ {"message":{"content":"\\u00e9\\/ \\ud83d\\ude00"} } ] ,"x":1.0e5}\r\n',
    "an order and doubles of its own": b'{"z":1,"choices":[],"a":2,"a":3,"usage":{"prompt_tokens":1}}',
    "several choices": orjson.dumps({"choices": [{"index": index} for index in range(4)]}),
    "log probabilities that nobody asked for": b'{"choices":[{"logprobs":{"content":[{"logprob":-1}]}}]}',
    "a call of a tool": b'{"choices":[{"message":{"tool_calls":[{"id":"1","function":{"arguments":"{\\"a\\":1}"}}]}}]}',
    "a megabyte": orjson.dumps({"choices": [{"message": {"content": "x" * (1 << 20)}}]}),
    "more than is held": orjson.dumps({"choices": [{"message": {"content": "x" * (5 << 20)}}]}),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_client_gets_what_the_engine_said(said: bytes):
    async with one_tier([reply(said, fields="X-Engine: 7\r\nOpenAI-Processing-Ms: 12\r\n")]) as (rig, _):
        answer = await rig.ask(post())

        assert answer.body == said
        assert answer.headers["x-engine"] == "7"
        assert answer.headers["openai-processing-ms"] == "12"
        assert answer.headers["content-type"] == "application/json"


STREAMS: dict[str, bytes] = {
    "one event per chunk": token("a") + token("b") + USAGE + DONE,
    "lines that end as on Windows": (token("a") + DONE).replace(b"\n", b"\r\n"),
    "comments and other fields": b": ping\n\nevent: x\nid: 7\n" + token("a") + b"retry: 3\n\n" + DONE,
    "an event of many lines": b'data: {"choices":\ndata: [{"index":0}]}\n\n' + DONE,
    "spaces or none after the colon": b'data:{"choices":[{"index":0}]}\n\ndata:   [DONE]\n\n',
}


@pytest.mark.parametrize("said", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_client_gets_the_stream_that_the_engine_sent(said: bytes, size: int):
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    act = raw(SSE_HEAD, *(chunk(piece) for piece in pieces), b"0\r\n\r\n")
    async with one_tier([act]) as (rig, _):
        answer = await rig.ask(post(stream=True, stream_options={"include_usage": True}))

        assert answer.complete
        assert answer.body == said


async def test_only_usage_that_nobody_asked_for_is_taken_out():
    async with one_tier([stream(token("a"), token("b"), USAGE, DONE)]) as (rig, _):
        answer = await rig.ask(post(stream=True))

        assert answer.body == token("a") + token("b") + DONE
