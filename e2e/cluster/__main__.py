"""`python -m e2e.cluster`: build, up, down, status, shell, exec."""

import argparse
import json
import os
import sys
from pathlib import Path

from e2e.cluster import gotools, imageset, local, models, packages
from e2e.cluster.progress import say

BUILDS = {
    "kube": [name for name, program in gotools.PROGRAMS.items() if program.tool == "kube"],
    **{name: [name] for name in ("etcd", "coredns", "helm", "kwok")},
}


def build(arguments: argparse.Namespace) -> int:
    """build what is missing in the cache: everything, or one part"""
    if arguments.what == "all":
        packages.ensure()
        print(*local.build_all(), models.folder(), sep="\n")
    elif arguments.what == "images":
        packages.ensure()
        print(imageset.build_all())
    elif arguments.what == "models":
        print(models.folder())
    else:
        print(*(gotools.build(program) for program in BUILDS[arguments.what]), sep="\n")
    return 0


def up(arguments: argparse.Namespace) -> int:
    if arguments.detach:
        found = local.detach(arguments.state, kwok=arguments.kwok)
        say(f"running; export KUBECONFIG={found.kubeconfig}")
        return 0
    local.hold(arguments.state, kwok=arguments.kwok)
    return 0


def down(arguments: argparse.Namespace) -> int:
    say("ended" if local.stop(arguments.state) else "no cluster is running")
    return 0


def status(arguments: argparse.Namespace) -> int:
    found = local.running(arguments.state)
    if not found:
        print("no cluster is running")
        return 1
    print(f"running, process {found.supervisor}\nKUBECONFIG={found.kubeconfig}\nlogs in {found.state}/logs")
    print(found.kubectl("get", "nodes,pods", "--all-namespaces", "-o", "wide").stdout)
    return 0


def load(arguments: argparse.Namespace) -> int:
    """build the images again and give the running cluster those that changed"""
    changed = local.load(_running(arguments.state))
    say(f"loaded {', '.join(changed)}" if changed else "no image changed")
    return 0


def model_claim(arguments: argparse.Namespace) -> int:
    print(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": models.claim(arguments.namespace)}, indent=1)
    )
    return 0


def shell(arguments: argparse.Namespace) -> int:
    """a shell inside, with kubectl and helm on PATH"""
    found = _running(arguments.state)
    os.environ["PATH"] = str(found.environment()["PATH"])
    return local.run_inside(found, [os.environ.get("SHELL", "/bin/sh")])


def execute(arguments: argparse.Namespace) -> int:
    found = _running(arguments.state)
    os.environ["PATH"] = str(found.environment()["PATH"])
    return local.run_inside(found, arguments.command)


def _running(state: Path | None) -> local.Running:
    if found := local.running(state):
        return found
    raise local.ClusterError("no cluster is running; `make cluster-up` starts one")


COMMANDS = {"build": build, "up": up, "down": down, "status": status, "load": load, "shell": shell}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__)
        command.set_defaults(function=function)
        command.add_argument("--state", type=lambda text: Path(text).resolve(), help="state folder")
        if function is build:
            command.add_argument(
                "what", nargs="?", default="all", choices=[*BUILDS, "images", "models", "all"]
            )
        if function is up:
            command.add_argument("--detach", action="store_true", help="return when the cluster is ready")
            command.add_argument("--kwok", action="store_true", help="add two pretended GPU nodes")
    command = commands.add_parser(
        "models", help="manifests of the models' volume and claim, for kubectl apply"
    )
    command.set_defaults(function=model_claim)
    command.add_argument("namespace")
    command = commands.add_parser("exec", help="run a command inside: exec -- COMMAND")
    command.set_defaults(function=execute)
    command.add_argument("--state", type=lambda text: Path(text).resolve(), help="state folder")
    command.add_argument("command", nargs="+")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    try:
        return int(arguments.function(arguments))
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
