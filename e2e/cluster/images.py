"""The images that pods run, as OCI archives in one folder of the cache."""

from pathlib import Path

from e2e.cluster import addons, gotools, node, ociarchive, paths
from e2e.cluster.publish import once


def build_all() -> Path:
    """A folder with one archive per image."""
    made = {"pause": static("pause", node.PAUSE_IMAGE), "coredns": static("coredns", addons.DNS_IMAGE)}
    key = paths.content_key([], also=[str(path) for path in made.values()])

    def make(unfinished: Path) -> None:
        unfinished.mkdir()
        for name, archive in made.items():
            (unfinished / f"{name}.tar").symlink_to(archive)

    return once(paths.cache() / "images" / f"set-{key}", make, name="image-set")


def static(program: str, image: str) -> Path:
    """An image of one Go program and nothing else."""
    binary = gotools.build(program)
    target = paths.cache() / "images" / f"{program}-{paths.content_key([], also=[str(binary), image])}.tar"

    def make(unfinished: Path) -> None:
        ociarchive.write(unfinished, image, {f"/{program}": binary}, [f"/{program}"])

    return once(target, make, name=f"image-{program}")
