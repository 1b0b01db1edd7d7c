"""A Secret of API keys as the kubelet mounts it."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import orjson


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Mount:
    """A Secret's volume as the kubelet writes it: files behind links, swapped all at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._turn = 0

    def write(self, **entries: Any) -> None:
        self._turn += 1
        fresh = self.folder / f"..turn{self._turn}"
        fresh.mkdir()
        for name, found in entries.items():
            (fresh / name).write_bytes(found if isinstance(found, bytes) else orjson.dumps(found))
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")
        for name in entries:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for old in self.folder.iterdir():
            if old.is_symlink() and not old.exists():
                old.unlink()
            elif old.is_dir() and not old.is_symlink() and old != fresh:
                shutil.rmtree(old)
