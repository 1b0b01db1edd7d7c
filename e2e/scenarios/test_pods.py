"""Where pods run, where their models come from, and what a tier says when they cannot run."""

import json

from e2e.cluster import models
from e2e.demo.install import PRIVATE_REPOSITORY, PRIVATE_TOKEN, REPOSITORIES, SMALL_REPOSITORY
from e2e.scenarios.world import World

KWOK_GPUS = 16


def test_smallest_objects_serve(world: World) -> None:
    world.tier("7b", nodePool=None, rollout=None, llamaCpp={})
    world.cascade("chat", "7b")

    world.wait_ready("cascade", "chat")

    assert world.ask("chat").status == 200
    assert (
        world.get("modeltier", "7b")["status"]["model"]["revision"] == REPOSITORIES[SMALL_REPOSITORY]["sha"]
    )


def test_private_model_needs_its_token(world: World) -> None:
    source = {"uri": f"hf://{PRIVATE_REPOSITORY}", "file": models.SMALL}
    world.tier("small", model={**source, "credentialsSecretRef": {"name": "hub", "key": "token"}})
    world.wait_condition("modeltier", "small", "Ready", "False", "SecretNotFound", says="hub")

    world.kubectl("create", "secret", "generic", "hub", f"--from-literal=token={PRIVATE_TOKEN}")

    world.wait_ready("modeltier", "small")


def test_model_from_a_claim(world: World) -> None:
    world.claim(models.claim(world.namespace))
    world.tier("small", model={"uri": f"pvc://{models.CLAIM}/{models.SMALL}"})

    world.wait_ready("modeltier", "small")


def test_gpu_pool_schedules_until_it_is_full(world: World) -> None:
    gpu = {"model": {"uri": "hf://owner/model"}, "llamaCpp": None, "vllm": {}, "nodePool": {"name": "kwok"}}
    world.tier("big", **gpu, replicas=2)
    world.wait_ready("modeltier", "big")
    nodes = {pod["spec"]["nodeName"] for pod in world.pods("big")}
    assert all(node.startswith("kwok-") for node in nodes)

    world.tier("big", **gpu, replicas=KWOK_GPUS + 1)

    world.wait_condition("modeltier", "big", "Ready", "False", "Unschedulable", says="kwok")


def test_unknown_pool_lists_the_known_ones(world: World) -> None:
    world.tier("small", nodePool={"name": "tpu"})

    world.wait_condition(
        "modeltier", "small", "ResolvedRefs", "False", "NodePoolNotFound", says="cpu, gpu, kwok"
    )


def test_image_that_cannot_be_pulled_is_said(world: World) -> None:
    world.tier("small", llamaCpp={"image": "localhost/no-such-image:1"})

    world.wait_condition("modeltier", "small", "Ready", "False", "ImagePullBackOff", says="no-such-image")


def test_suspend_and_resume(world: World) -> None:
    world.tier("small")
    world.wait_ready("modeltier", "small")

    world.kubectl(
        "patch", "modeltier", "small", "--type=merge", "-p", json.dumps({"spec": {"suspend": True}})
    )
    world.wait_condition("modeltier", "small", "Ready", "False", "Suspended")
    world.wait("no pod is left", lambda: not world.pods("small"))

    world.kubectl(
        "patch", "modeltier", "small", "--type=merge", "-p", json.dumps({"spec": {"suspend": False}})
    )
    world.wait_ready("modeltier", "small")
