"""What programs do with the official `openai` client, and what they rely on.

Every check asks a real question and raises AssertionError when the answer is not what the client promises its users.
"""

import asyncio
import json
from typing import Any, Literal

import openai
from pydantic import BaseModel

from e2e.clients.target import WEATHER, Check, Target, question

TOKENS = 16


class Person(BaseModel):
    """An answer of known form."""

    name: str
    age: int


def _client(target: Target) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=target.base_url, api_key=target.api_key, timeout=target.timeout_s, max_retries=0
    )


def _ask(target: Target, **more: Any) -> Any:
    given: dict[str, Any] = {"messages": question(), "max_tokens": TOKENS, "temperature": 0, **more}
    return _client(target).chat.completions.create(model=target.model, **given)


def _adds_up(usage: Any) -> None:
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def plain(target: Target) -> None:
    answer = _ask(target, seed=1, stop=["\n\n\n"])

    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.choices[0].logprobs is None or not answer.choices[0].logprobs.content
    _adds_up(answer.usage)


def says_who_answered(target: Target) -> None:
    given: dict[str, Any] = {"messages": question(), "max_completion_tokens": TOKENS}
    raw = _client(target).chat.completions.with_raw_response.create(model=target.model, **given)

    assert raw.headers["x-modelfleet-tier"]
    assert int(raw.headers["x-modelfleet-attempts"]) >= 1
    assert raw.parse().choices


def streamed(target: Target) -> None:
    chunks = list(_ask(target, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(chunk.choices for chunk in chunks), "usage was not asked for"


def streamed_with_usage(target: Target) -> None:
    *chunks, last = _ask(target, stream=True, stream_options={"include_usage": True})

    assert last.choices == []
    _adds_up(last.usage)
    assert all(chunk.choices for chunk in chunks)


def streamed_by_helper(target: Target) -> None:
    given: dict[str, Any] = {"messages": question(), "max_tokens": TOKENS}
    with _client(target).chat.completions.stream(model=target.model, **given) as events:
        text = "".join(event.delta for event in events if event.type == "content.delta")
        assert text == events.current_completion_snapshot.choices[0].message.content


def text_completion(target: Target) -> None:
    client = _client(target)
    given: dict[str, Any] = {"model": target.model, "prompt": "One, two,", "max_tokens": TOKENS}
    whole = client.completions.create(**given)
    parts = list(client.completions.create(**given, stream=True))

    assert whole.choices[0].text
    _adds_up(whole.usage)
    assert "".join(part.choices[0].text for part in parts)


def two_choices(target: Target) -> None:
    answer = _ask(target, n=2, temperature=1, max_tokens=6, messages=question("Name a colour."))

    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def log_probabilities(target: Target) -> None:
    told = _ask(target, logprobs=True, top_logprobs=2, max_tokens=6).choices[0].logprobs.content

    assert told
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in told)


def log_probabilities_in_a_stream(target: Target) -> None:
    chunks = _ask(target, logprobs=True, top_logprobs=2, max_tokens=6, stream=True)
    told = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]

    assert sum(len(logprobs.content or []) for logprobs in told) >= 1


def tool_call(target: Target) -> None:
    answer = _ask(
        target, messages=question("Weather in Bern?"), tools=[WEATHER], tool_choice="required", max_tokens=64
    )
    (call,) = answer.choices[0].message.tool_calls

    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments)["city"] in {"Bern", "Oslo"}


def tool_call_in_a_stream(target: Target) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = _ask(
        target,
        messages=question("Weather in Bern?"),
        tools=[WEATHER],
        tool_choice=choice,
        max_tokens=64,
        stream=True,
    )
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]

    assert "".join(call.function.name or "" for call in calls) == "weather"
    assert json.loads("".join(call.function.arguments or "" for call in calls))["city"] in {"Bern", "Oslo"}


def structured_output(target: Target) -> None:
    answer = _client(target).chat.completions.parse(
        model=target.model, messages=question("Who are you?"), response_format=Person, max_tokens=64
    )

    assert isinstance(answer.choices[0].message.parsed, Person)


def json_object(target: Target) -> None:
    asked = question("Who are you? Answer in JSON.")
    answer = _ask(target, messages=asked, response_format={"type": "json_object"}, max_tokens=64)

    text = answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length" or isinstance(json.loads(text), dict)


def models(target: Target) -> None:
    assert target.model in [model.id for model in _client(target).models.list()]


def unknown_model(target: Target) -> None:
    _refused(target, openai.NotFoundError, "model_not_found", model="no-such-model")


def bad_request(target: Target) -> None:
    _refused(target, openai.BadRequestError, None, extra_body={"stream": "yes"})


def embeddings(target: Target) -> None:
    client = _client(target)
    if not target.embeds:
        told: str | None = "some vectors"
        try:
            client.embeddings.create(model=target.model, input="hello")
        except openai.NotFoundError as err:
            told = err.code
        assert told == "unsupported_endpoint"
        return
    for form in ("float", "base64"):
        asked: Literal["float", "base64"] = "float" if form == "float" else "base64"
        answer = client.embeddings.create(model=target.model, input=["hello", "you"], encoding_format=asked)
        assert [each.index for each in answer.data] == [0, 1]


def asynchronous(target: Target) -> None:
    async def both() -> None:
        async with openai.AsyncOpenAI(
            base_url=target.base_url, api_key=target.api_key, timeout=target.timeout_s, max_retries=0
        ) as client:
            given: dict[str, Any] = {"model": target.model, "messages": question(), "max_tokens": TOKENS}

            async def parts() -> str:
                chunks = await client.chat.completions.create(**given, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

            whole, text = await asyncio.gather(client.chat.completions.create(**given), parts())
            assert whole.choices[0].message.content
            assert text

    asyncio.run(both())


def _refused(target: Target, kind: type[openai.APIStatusError], code: str | None, **more: Any) -> None:
    given: dict[str, Any] = {"model": target.model, "messages": question(), **more}
    told: openai.APIStatusError | None = None
    try:
        _client(target).chat.completions.create(**given)
    except kind as err:
        told = err
    assert told is not None
    assert told.message
    assert told.code == code


CHECKS: tuple[Check, ...] = (
    plain,
    says_who_answered,
    streamed,
    streamed_with_usage,
    streamed_by_helper,
    text_completion,
    two_choices,
    log_probabilities,
    log_probabilities_in_a_stream,
    tool_call,
    tool_call_in_a_stream,
    structured_output,
    json_object,
    models,
    unknown_model,
    bad_request,
    embeddings,
    asynchronous,
)
