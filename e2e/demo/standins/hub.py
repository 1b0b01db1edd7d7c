"""A stand-in of the model hub's HTTP API: what `huggingface_hub` asks of it, and nothing else.

Runs inside the cluster with the standard library alone.  HUB_FILE names a JSON file:
`{"owner/repository": {"sha": "...", "files": {"name.gguf": "/path"}, "token": "optional"}}`.
"""

import hashlib
import json
import os
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

REPOSITORY = r"/(?:api/models/)?(?P<repo>[^/]+/[^/]+)"
INFO = re.compile(rf"/api/models{REPOSITORY}(?:/revision/(?P<revision>.+))?")
TREE = re.compile(rf"/api/models{REPOSITORY}/tree/(?P<revision>[^/]+)")
FILE = re.compile(rf"{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, Any]]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/healthz":
            self._json({}, body=body)
        elif (tree := TREE.fullmatch(path)) and (
            repository := self._repository(tree["repo"], tree["revision"])
        ):
            self._json([_entry(name, Path(file)) for name, file in repository["files"].items()], body=body)
        elif (file := FILE.fullmatch(path)) and (
            repository := self._repository(file["repo"], file["revision"])
        ):
            self._file(repository, file["file"], body=body)
        elif (info := INFO.fullmatch(path)) and (
            repository := self._repository(info["repo"], info["revision"])
        ):
            siblings = [{"rfilename": name} for name in repository["files"]]
            self._json({"id": info["repo"], "sha": repository["sha"], "siblings": siblings}, body=body)
        else:
            self._refuse(404, "RepoNotFound", "Repository not found", body=body)

    def _repository(self, name: str, revision: str | None) -> dict[str, Any] | None:
        found = self.repositories.get(name)
        if found is None or revision not in (None, "main", found["sha"]):
            return None
        token = found.get("token")
        return found if not token or self.headers.get("Authorization") == f"Bearer {token}" else None

    def _file(self, repository: dict[str, Any], name: str, *, body: bool) -> None:
        if name not in repository["files"]:
            self._refuse(404, "EntryNotFound", "Entry not found", body=body)
            return
        path = Path(repository["files"][name])
        size = path.stat().st_size
        wanted = RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        end = int(wanted[2]) if wanted and wanted[2] else size - 1
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", repository["sha"])
        self.end_headers()
        if body:
            with path.open("rb") as source:
                source.seek(start)
                # A range to the end is all that is ever asked for.
                shutil.copyfileobj(source, self.wfile)

    def _json(self, value: Any, *, body: bool, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str, *, body: bool) -> None:
        data = json.dumps({"error": message}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        print(format % args, flush=True)


def _entry(name: str, path: Path) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}


def _etag(path: Path) -> str:
    """Changes when the file does; hashing 100 MB per request would not pay."""
    facts = path.stat()
    return hashlib.sha256(f"{path.name} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()


def main() -> None:
    Hub.repositories = json.loads(Path(os.environ["HUB_FILE"]).read_text())
    ThreadingHTTPServer(("", int(os.environ.get("HUB_PORT", "8080"))), Hub).serve_forever()


if __name__ == "__main__":
    main()
