"""When an engine must have said something."""

# Longest silence inside a stream.  A llama.cpp that is stopped keeps its connections open and says nothing more.
SILENCE_S_MAX = 30.0
# What a patient client gives a stream to begin.
BEGIN_S_MAX = 10.0


def due_s(attempt_s: float, last_byte_s: float, timeout_s: float, *, began: bool) -> float:
    """When an attempt that began at `attempt_s` is given up.  `began`: bytes of a stream have been passed on.

    A whole answer must be complete, and a stream have begun, `timeout_s` after the attempt started; after that a
    stream may be silent for so long, but not beyond SILENCE_S_MAX.
    """
    return last_byte_s + min(timeout_s, SILENCE_S_MAX) if began else attempt_s + timeout_s


def leaving(asked_s: float, *, said: bool, stream: bool) -> str:
    """What an attempt is called whose client left `asked_s` after it began.  `said`: the engine had said something.

    Who leaves says nothing of the engine, unless it was silent for very long: where clients are less patient than
    their tier, an engine that is stuck has no other failures than these.
    """
    patience_s = BEGIN_S_MAX if stream else SILENCE_S_MAX
    return "Cancelled" if said or asked_s < patience_s else "Abandoned"
