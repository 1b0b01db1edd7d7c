"""Building images with buildah: no daemon, and nothing outside the cache."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from e2e.cluster import mirrors, paths

# About ten changes of the code.
UNTAGGED_MAX = 20


def build(
    tag: str, dockerfile: Path, *, target: str = "", arguments: Mapping[str, str] | None = None
) -> None:
    """Build `tag` from a Dockerfile whose context is the repository; layers are cached."""
    options = [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
    if target:
        options.append(f"--target={target}")
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "pip"
        secret.touch(mode=0o600)
        secret.write_text(mirrors.pip_secret())
        _buildah(
            "build",
            "--layers",
            "--format=oci",
            f"--secret=id=pip,src={secret}",
            f"--secret=id=ca,src={mirrors.authorities()}",
            *options,
            f"--file={dockerfile}",
            f"--tag={tag}",
            str(paths.REPO),
        )


def from_tarball(tag: str, tarball: Path) -> None:
    """An image whose only layer is the tarball."""
    dockerfile = tarball.with_name("Dockerfile")
    dockerfile.write_text(f"FROM scratch\nADD {tarball.name} /\n")
    _buildah("build", "--format=oci", f"--file={dockerfile}", f"--tag={tag}", str(tarball.parent))


def exists(tag: str) -> bool:
    return _run("inspect", "--type=image", tag).returncode == 0


def save(tag: str, archive: Path) -> None:
    """Write the image as an archive for containerd."""
    # The OCI form would be compressed, which takes longer than the build and helps nobody here.
    _buildah("push", tag, f"docker-archive:{archive}:{tag}")


def tidy() -> None:
    """Forget untagged images once there are many."""
    if len(_buildah("images", "--quiet", "--filter=dangling=true").split()) > UNTAGGED_MAX:
        # It fails where a build that was interrupted left a container; the others are gone all the same.
        _run("rmi", "--prune")


def _buildah(*args: str) -> str:
    result = _run(*args)
    if result.returncode != 0:
        raise RuntimeError(f"buildah {args[0]} failed:\n{(result.stdout + result.stderr)[-4000:]}")
    return result.stdout


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    driver = _driver()
    storage = paths.made(paths.cache() / "buildah" / driver)
    with tempfile.TemporaryDirectory() as record:
        argv = [
            # buildah leaves mounts behind; here they end with it, and so does its record of them.
            "unshare", "--mount", "--",
            "buildah", f"--root={storage}", f"--runroot={record}", f"--storage-driver={driver}", *args,
        ]  # fmt: skip
        return subprocess.run(argv, env=_env(), capture_output=True, text=True, check=False)


def _env() -> dict[str, str]:
    # Inside containers and small virtual machines, the other kinds of isolation are not to be had.
    return {**os.environ, "BUILDAH_ISOLATION": "chroot"}


@cache
def _driver() -> str:
    """overlay where the kernel and the cache's file system can do it; else vfs, which copies every layer."""
    with tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
        lower, upper, work, merged = (paths.made(Path(folder) / name) for name in ("l", "u", "w", "m"))
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        # In a mount namespace of its own, so that nothing is left to unmount.
        result = subprocess.run(["unshare", "--mount", *mount], capture_output=True, check=False)
    return "overlay" if result.returncode == 0 else "vfs"
