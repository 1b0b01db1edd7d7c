"""Runs inside vLLM's own environment: parses command lines with the real `vllm` command, and starts nothing.

Standard input: one JSON list of arguments per line.  Standard output: for each, {"values": {...}} with what vLLM
understood, or {"error": "..."} with what it printed when it refused.
"""

import contextlib
import io
import json
import sys
from typing import Any

from vllm.entrypoints.cli import main as vllm_main
from vllm.entrypoints.cli.serve import ServeSubcommand

_PLAIN = (str, int, float, bool, list, type(None))


def parse(arguments: list[str]) -> dict[str, Any]:
    """What `vllm ARGUMENTS` would start with."""
    understood: dict[str, Any] = {}

    def keep(args: Any) -> None:
        understood.update({name: value for name, value in vars(args).items() if isinstance(value, _PLAIN)})

    ServeSubcommand.cmd = staticmethod(keep)
    sys.argv = ["vllm", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            vllm_main.main()
    except SystemExit:
        return {"error": said.getvalue().strip()}
    except (ValueError, TypeError) as err:
        return {"error": str(err)}
    return {"values": understood}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(parse(json.loads(line)), default=str) + "\n")
