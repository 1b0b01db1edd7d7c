"""One load generator inside the cluster: `python -m e2e.load` in a pod, steered through `kubectl exec -i`."""

import json
import threading
from collections.abc import Sequence
from typing import Any

from e2e.demo.kube import Kube, NotSeen

FINISH_LIMIT_S = 150.0


class Traffic:
    """A running load generator.  `report` is its last word; see e2e/load/tally.py."""

    def __init__(
        self, kube: Kube, *, namespace: str, pod: str, client: str, base_url: str, model: str
    ) -> None:
        command = [
            "python3",
            "-m",
            "e2e.load",
            f"--base-url={base_url}",
            f"--model={model}",
            f"--client={client}",
        ]
        self.client = client
        self.report: dict[str, Any] = {}
        self._process = kube.popen("exec", "-i", "-n", namespace, pod, "--", *command, interactive=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def replay(self, arrivals: Sequence[tuple[float, int, int]], **settings: float) -> None:
        """Streams at these times, in seconds from now: (when, words of the question, tokens of the answer)."""
        self.set(**settings, arrivals=arrivals)

    def set(self, **settings: Any) -> None:
        """Change concurrency, streams (percent), max_tokens, pause_s, ttft_s, itl_s or word."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()

    def count(self, name: str) -> int:
        return int(self.report.get(name, 0))

    @property
    def has_streams(self) -> bool:
        """Whether a stream is under way, or may still be sent."""
        told = self.report.get("settings", {}).get("streams") == 0
        return not told or self.count("streamsUnderWay") > 0

    def check(self) -> None:
        """Raises NotSeen when the generator ended by itself."""
        if self._process.poll() is not None and not self.report.get("final"):
            raise NotSeen(f"the {self.client} load generator ended: {self._last_words()}")

    def finish(self) -> dict[str, Any]:
        """Send nothing more, wait for the requests under way, and return the last report."""
        self.set(stop=True)
        self._reader.join(FINISH_LIMIT_S)
        if not self.report.get("final"):
            self._process.kill()
            raise NotSeen(f"the {self.client} load generator did not finish: {self._last_words()}")
        self._process.kill()
        self._process.wait()
        return self.report

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        return (
            f"exit code {self._process.wait()}, {self._process.stderr.read()[-2000:]!r}, after {self.report}"
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.report = json.loads(line)
            if self.report.get("final"):
                return
