"""`make demo`: a cascade of real models on a real cluster, scaled and rerouted before your eyes.

Exits with 0 only if every scene was seen and no request failed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.cluster import choose, local
from e2e.demo import install, report, story
from e2e.demo.console import Voice
from e2e.demo.fleet import Fleet
from e2e.demo.kube import CommandFailed, Kube, NotSeen
from e2e.demo.traffic import Traffic

POD_LIMIT_S = 120.0
BASE_URL = f"http://modelfleet-router.{install.NAMESPACE}.svc/v1"
CLIENTS = ("http", "openai")


def main() -> int:
    voice = Voice()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    voice.scene("A cluster")
    with cluster(keep=keep) as found:
        kube = Kube(environment(found))
        fleet = Fleet(kube, install.NAMESPACE)
        try:
            seen = play(kube, fleet, voice, built=found.built is not None)
        except (NotSeen, CommandFailed) as err:
            voice.fail(str(err))
            tell_state(kube, voice)
            seen = False
        finally:
            fleet.stop()
        report.where_to_look(
            voice.console, namespace=install.NAMESPACE, kubeconfig=str(found.kubeconfig), kept=keep
        )
    minutes, seconds = divmod(int(voice.seconds()), 60)
    verdict = "All of it was seen" if seen else "[red]Not all of it was seen[/red]"
    voice.console.print(f"\n{verdict}, in {minutes} min {seconds} s.")
    return 0 if seen else 1


@contextmanager
def cluster(*, keep: bool) -> Iterator[choose.Target]:
    """The chosen cluster; with `keep`, one that is built here outlives this process."""
    if keep and choose.choose(os.environ, choose.works).kind == "built" and not local.running():
        local.detach()
    with choose.cluster(kwok=False) as found:
        yield found


def environment(found: choose.Target) -> dict[str, str]:
    """For kubectl and helm: the cluster's kubeconfig, and the programs that fit it."""
    path = f"{found.assets}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "KUBECONFIG": str(found.kubeconfig), "PATH": path}


def play(kube: Kube, fleet: Fleet, voice: Voice, *, built: bool) -> bool:
    """All of it, from an empty cluster; raises NotSeen at the first thing that does not happen."""
    voice.scene("The operator, from its chart, and the world around it")
    set_up(kube, voice, built=built)
    voice.scene("kubectl apply -f examples/quickstart")
    install.example(kube)
    fleet.start()
    stage = story.Stage(kube, fleet, voice, [])
    story.become_ready(stage)
    stage.traffic += [
        Traffic(kube, namespace="clients", pod="load", client=client, base_url=BASE_URL, model=story.CASCADE)
        for client in CLIENTS
    ]
    problem: NotSeen | None = None
    try:
        for title, scene in story.SCENES:
            voice.scene(title)
            scene(stage)
    except NotSeen as err:
        problem = err
    reports = finish(stage, voice)
    if problem:
        raise problem
    return all_answered(reports, voice)


def finish(stage: story.Stage, voice: Voice) -> dict[str, dict[str, Any]]:
    """End the load, and show what was decided and answered."""
    reports = {traffic.client: traffic.finish() for traffic in stage.traffic}
    voice.scene("The end")
    voice.console.print(report.decisions_table(stage.fleet.decisions))
    voice.console.print(report.requests_table(reports, story.STEPS))
    return reports


def set_up(kube: Kube, voice: Voice, *, built: bool) -> None:
    with voice.waiting("applying"):
        install.namespaces(kube)
        install.outside(kube, built=built)
        install.operator(kube)
    voice.seen(f"helm installed {install.RELEASE} into {install.SYSTEM}")
    with voice.waiting("waiting for Prometheus, the model hub, the paid API and the operator"):
        install.wait_for_deployments(
            kube,
            ("monitoring", "prometheus"),
            ("outside", "hub"),
            ("frontier", "api"),
            (install.SYSTEM, install.RELEASE),
            limit_s=POD_LIMIT_S,
        )
        kube.kubectl(
            "wait", "-n", "clients", "pod/load", "--for=condition=Ready", f"--timeout={POD_LIMIT_S:.0f}s"
        )
    voice.seen("Prometheus, the model hub, the paid API and the operator run")


def all_answered(reports: dict[str, dict[str, Any]], voice: Voice) -> bool:
    """No request failed, and every tier gave an answer."""
    failed = [failure for report_ in reports.values() for failure in report_["failures"]]
    steps = {step for report_ in reports.values() for step in report_["tiers"]}
    for failure in failed:
        voice.fail(f"a request failed: {failure}")
    silent = sorted(set(story.STEPS) - steps)
    if silent:
        voice.fail(f"no answer came from: {', '.join(silent)}")
    return not failed and not silent


def tell_state(kube: Kube, voice: Voice) -> None:
    """What somebody needs who asks why it was not seen."""
    for args in (
        ("get", "fleet", "-n", install.NAMESPACE, "-o", "yaml"),
        ("get", "pods", "-A", "-o", "wide"),
        ("get", "events", "-n", install.NAMESPACE, "--sort-by=.lastTimestamp"),
        ("logs", "-n", install.SYSTEM, f"deployment/{install.RELEASE}", "--all-pods", "--tail=60"),
        ("logs", "-n", install.NAMESPACE, "-l", "app.kubernetes.io/component=router", "--tail=40"),
    ):
        voice.console.rule(f"kubectl {' '.join(args)}")
        try:
            voice.console.print(kube.kubectl(*args), markup=False, soft_wrap=True)
        except CommandFailed as err:
            voice.console.print(str(err), markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
