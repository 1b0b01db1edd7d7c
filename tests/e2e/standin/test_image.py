"""What the image copies is all that the stand-in needs: the standard library, and a few files of ours."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "e2e" / "cluster" / "images" / "vllm-standin" / "Dockerfile"


def test_it_runs_with_what_is_copied(tmp_path: Path) -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    for line in re.findall(r"^COPY ((?:operator|e2e/standin).*)$", text, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            place = tmp_path / target.lstrip("/")
            if target.endswith("/"):
                place /= Path(source).name
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, place)

    # Without the packages of this environment.
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path / 'app')!r}); import e2e.standin.server",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
