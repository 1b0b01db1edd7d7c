"""Run the clients' checks against a running router: `python -m e2e.clients --base-url URL --model NAME`."""

import argparse
import sys
import traceback

from e2e.clients import langchain, official
from e2e.clients.target import Target

# A model of a few hundred million parameters calls tools and fills forms by luck.
CLEVER = {"tool_call", "tool_call_in_a_stream", "structured_output", "tools", "structured"}
LIBRARIES = {"openai": official.CHECKS, "langchain-openai": langchain.CHECKS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.clients", description=__doc__)
    parser.add_argument("--base-url", required=True, help="with /v1 at its end")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--embeds", action="store_true", help="the model gives embeddings")
    parser.add_argument("--small", action="store_true", help="do not ask for tool calls and filled forms")
    given = parser.parse_args()
    target = Target(given.base_url, given.model, given.api_key, embeds=given.embeds)
    failed = 0
    for library, checks in LIBRARIES.items():
        for check in checks:
            if given.small and check.__name__ in CLEVER:
                continue
            try:
                check(target)
            except Exception:  # noqa: BLE001 - whatever it is, the others are to run
                failed += 1
                print(f"FAILED  {library}: {check.__name__}\n{traceback.format_exc(limit=-2)}", flush=True)
            else:
                print(f"ok      {library}: {check.__name__}", flush=True)
    sys.exit(f"{failed} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
