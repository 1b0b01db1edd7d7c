"""The Debian packages that the node is made of."""

import os
import shutil
import subprocess
from collections.abc import Iterable

from e2e.cluster.progress import step

# A program of each package, and where Debian puts what is not on PATH.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "prometheus": "prometheus",
}


def ensure() -> None:
    """Install what is missing; raises RuntimeError where that cannot be done."""
    absent = missing()
    if not absent:
        return
    if not shutil.which("apt-get"):
        raise RuntimeError(f"this machine lacks {', '.join(absent)}, and has no apt-get to install them with")
    # RUNLEVEL: services that a package would start at once are not wanted.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with step(f"installing Debian packages: {' '.join(absent)}", typical_s=60):
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *absent]
        for argv in (["apt-get", "update"], install):
            result = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise RuntimeError(f"{' '.join(argv)} failed:\n{result.stderr[-2000:]}")


def missing() -> list[str]:
    return [package for package, program in PACKAGES.items() if not _present(program)]


def _present(program: str) -> bool:
    # /usr/sbin is not always on the PATH of those who can become root.
    search: Iterable[str] = (os.environ.get("PATH", ""), "/usr/sbin", "/sbin")
    return shutil.which(program, path=":".join(search)) is not None
