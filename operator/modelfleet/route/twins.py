"""Whether a JSON object names a field twice.

Readers differ in which of the two they take.  Engines get what this router read, written anew, so no engine can be
made to see another `model` than the router did; but a client that says two things deserves to hear it.

The parser does not tell, and one that does costs more than all the rest of a request.  So there is a quick look first:
where it finds nothing there is nothing (but for bodies made to deceive it, which deceive nobody else), and where it
finds something a slow parser has the last word.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

# Beyond it the quick look would cost as much as parsing, and only the ends are looked at: what is long is the content of
# messages, and fields stand before and behind it.
WHOLE_BYTES_MAX: Final = 8 * 1024
ENDS_BYTES: Final = 512


def field_twice(body: bytes, fields: Mapping[str, Any]) -> bool:
    """Whether the object in `body`, which was read as `fields`, names one of its own fields twice.

    Raises orjson.JSONEncodeError or RecursionError when it is nested deeper than any engine would read.
    """
    if len(body) <= WHOLE_BYTES_MAX:
        # A field that was read over leaves at least its own two quotes behind.
        doubtful = body.count(b'"') != orjson.dumps(fields).count(b'"')
    else:
        ends = body[:ENDS_BYTES] + b" " + body[-ENDS_BYTES:]
        doubtful = any(ends.count(b'"%b":' % name.encode()) > 1 for name in fields)
    return doubtful and json.loads(body, object_pairs_hook=_twice) is True


def _twice(pairs: list[tuple[str, Any]]) -> bool:
    # Called for the outermost object last, so what it says there is the result.
    return len({name for name, _ in pairs}) < len(pairs)
