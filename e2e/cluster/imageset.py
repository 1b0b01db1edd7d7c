"""The images that pods run, as archives in one folder of the cache."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import addons, baseimage, buildah, compiled, gotools, node, ociarchive, paths
from e2e.cluster.progress import step
from e2e.cluster.publish import once

PROMETHEUS = Path("/usr/bin/prometheus")
# Archives of one image; somebody may be between two versions of the code.
KEPT = 3
PROMETHEUS_IMAGE = "localhost/prometheus:dev"


@dataclass(frozen=True)
class Recipe:
    """An image of a Dockerfile, and all that it is made of.  Paths are relative to the repository."""

    name: str
    dockerfile: str
    inputs: Sequence[str]
    target: str = ""
    stages: Sequence[str] = ()  # Slow ones, kept by name so that tidying up spares them.
    typical_s: float = 30
    compiles: bool = False  # some stage of it starts from the compiler's image

    @property
    def tag(self) -> str:
        return f"localhost/{self.name}:dev"

    def files(self) -> list[Path]:
        found = [paths.REPO / self.dockerfile]
        for path in (path for name in self.inputs for path in paths.REPO.glob(name)):
            found += [path] if path.is_file() else _sources(path)
        return found


def _sources(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


_PROJECT = ("pyproject.toml", "LICENSE", "operator/modelfleet", "requirements/build.txt")


def _ours(part: str, *inputs: str, built_with: str = "") -> Recipe:
    name = f"modelfleet-{part}"
    stages = (f"{part}-requirements", *([f"{built_with}-requirements"] if built_with else []))
    files = (f"requirements/{part}.txt", *inputs)
    compiles = built_with == "compile"
    return Recipe(
        name,
        "Dockerfile",
        files,
        target=name,
        stages=stages,
        typical_s=120 if compiles else 60,
        compiles=compiles,
    )


RECIPES = (
    Recipe(
        "llama-server",
        "e2e/cluster/images/llama-server/Dockerfile",
        ("e2e/cluster/images/llama-server/requirements.txt", "e2e/cluster/llama_server.py"),
    ),
    _ours("operator", *_PROJECT, built_with="build"),
    _ours("router", *compiled.INPUTS, "requirements/compile.txt", built_with="compile"),
    _ours("downloader"),
    Recipe("tools", "e2e/cluster/images/tools/Dockerfile", ("e2e/cluster/images/tools/requirements.txt",)),
    Recipe(
        "vllm-standin",
        "e2e/cluster/images/vllm-standin/Dockerfile",
        (
            "e2e/cluster/images/vllm-standin/vllm",
            "e2e/standin",
            "operator/modelfleet/__init__.py",
            *(f"operator/modelfleet/plan/{name}.py" for name in ("__init__", "engine", "profiles")),
            *(f"operator/modelfleet/sim/{name}.py" for name in ("__init__", "replica")),
        ),
    ),
)

# Only for those who ask for it: it is of no use without vLLM's environment.
VLLM = Recipe("vllm", "e2e/cluster/images/vllm/Dockerfile", ("e2e/cluster/images/vllm/vllm",))


def build_all() -> Path:
    """A folder with one archive per image; what is up to date is left alone."""
    # Those first that wait for the network: meanwhile the programs of the others may be built beside us.
    made = {recipe.name: build(recipe) for recipe in RECIPES}
    made |= {
        "prometheus": _prometheus(),
        "pause": _static("pause", node.PAUSE_IMAGE),
        "coredns": _static("coredns", addons.DNS_IMAGE),
    }
    key = paths.content_key([], also=[str(path) for path in made.values()])

    def make(unfinished: Path) -> None:
        unfinished.mkdir()
        for name, archive in made.items():
            (unfinished / f"{name}.tar").symlink_to(archive)

    return once(_folder() / f"set-{key}", make, name="image-set")


def build(recipe: Recipe) -> Path:
    """The archive of the recipe's image for the files as they are now."""
    packages = (*baseimage.PACKAGES, *(baseimage.COMPILER if recipe.compiles else ()))
    key = paths.content_key(recipe.files(), also=[recipe.target, *packages])

    def make(unfinished: Path) -> None:
        base = baseimage.ensure()
        with step(f"building image {recipe.name}", typical_s=recipe.typical_s):
            dockerfile = paths.REPO / recipe.dockerfile
            arguments = {"BASE_IMAGE": base}
            if recipe.compiles:
                arguments["COMPILER_IMAGE"] = baseimage.compiler()
            for stage in recipe.stages:
                kept = f"localhost/modelfleet-stage:{stage}"
                buildah.build(kept, dockerfile, target=stage, arguments=arguments)
            buildah.build(recipe.tag, dockerfile, target=recipe.target, arguments=arguments)
            buildah.save(recipe.tag, unfinished)
            buildah.tidy()

    # One lock for all: the stages they share are then built once.
    archive = once(_folder() / f"{recipe.name}-{key}.tar", make, name="images")
    archive.touch()
    for old in sorted(_folder().glob(f"{recipe.name}-*.tar"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return archive


def _static(program: str, image: str) -> Path:
    """An image of one static Go program and nothing else."""
    binary = gotools.build(program)
    target = _folder() / f"{program}-{paths.content_key([], also=[str(binary), image])}.tar"

    def make(unfinished: Path) -> None:
        ociarchive.write(unfinished, image, {f"/{program}": binary}, [f"/{program}"])

    return once(target, make, name=f"image-{program}")


def _prometheus() -> Path:
    """Debian's Prometheus with the few libraries that it links to."""
    programs = (PROMETHEUS, PROMETHEUS.with_name("promtool"))
    target = _folder() / f"prometheus-{paths.content_key(programs)}.tar"

    def make(unfinished: Path) -> None:
        linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
        libraries = set(re.findall(r"(/\S+\.so\S*)", linked))
        content = {f"/bin/{program.name}": program for program in programs}
        content |= {library: Path(library) for library in libraries}
        ociarchive.write(unfinished, PROMETHEUS_IMAGE, content, ["/bin/prometheus"])

    return once(target, make, name="image-prometheus")


def _folder() -> Path:
    return paths.made(paths.cache() / "images")
