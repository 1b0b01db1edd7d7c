"""`python -m e2e.load.ask URL AT_ONCE`: sends the requests of standard input, and tells all of what came back.

Each line on standard input is `{"headers": {...}, "body": {...}}`; each on standard output, in the same order, is
`{"status", "headers", "body"}`.  A request without an answer has status 0 and the error as its body.
"""

import asyncio
import json
import sys
from typing import Any

import httpx

REQUEST_LIMIT_S = 120.0


async def main(url: str, at_once: int) -> None:
    requests = [json.loads(line) for line in sys.stdin]
    places = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(timeout=REQUEST_LIMIT_S) as client:
        answers = await asyncio.gather(*(_ask(client, url, request, places) for request in requests))
    for answer in answers:
        print(json.dumps(answer))


async def _ask(
    client: httpx.AsyncClient, url: str, request: dict[str, Any], places: asyncio.Semaphore
) -> dict[str, Any]:
    async with places:
        try:
            answer = await client.post(url, json=request["body"], headers=request["headers"])
        except httpx.HTTPError as err:
            return {"status": 0, "headers": {}, "body": f"{type(err).__name__}: {err}"}
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.text}


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
