"""The ray executor on a cluster of two nodes on this machine: same results, and nothing lost with a worker or a
node."""

import os
import signal
import sys
import time
from pathlib import Path

import lab_toy
import pytest
from lab_toy import RUNNERS, computed, grid

from paperlib.errors import PaperlibError
from paperlib.experiments import plan as experiments
from paperlib.experiments.scales import SMOKE
from paperlib.experiments.specs import AnalysisSpec
from paperlib.lab.cluster import CHUNK, tasks
from paperlib.lab.plan import plan
from paperlib.lab.run import run
from paperlib.lab.store import Store

ray = pytest.importorskip("ray", reason="the optional extra [cluster] is not installed")


def patiently(start, tries: int = 3):
    """``start()``, again where Ray gives up on a node: it waits 30 seconds, which a busy machine exceeds."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each; the driver is connected to the first."""
    from ray.cluster_utils import Cluster

    before = {
        name: os.environ.get(name)
        for name in ("PYTHONPATH", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_USAGE_STATS_ENABLED")
    }
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # the workers unpickle the toy runners by name
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = patiently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}))
    patiently(lambda: nodes.add_node(num_cpus=1))
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def killed_once(spec, context):
    """The toy training; the first worker that gets seed 3 dies as if by force, half a result written."""
    mark = context.store.root.parent / "killed"
    if spec.seed == 3 and not mark.exists():
        mark.touch()
        (context.folder / "weights.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return lab_toy.train(spec, context)


def slow(spec, context):
    """The toy training, long enough for a node to be taken away meanwhile."""
    (context.store.root.parent / f"started-{spec.seed}").touch()
    time.sleep(0.5)
    return lab_toy.train(spec, context)


def on_ray(specs, store, runners=RUNNERS, **options):
    return run(specs, store, device="cpu", executor="ray", options=options, progress=False, runners=runners)


def test_tasks_keep_children_of_a_parent_together_and_wait_for_parents(tmp_path):
    models = [lab_toy.train_spec(seed) for seed in range(2)]
    children = [lab_toy.defend_spec(models[0], n_clean=n) for n in range(10, 10 + CHUNK + 1)]
    both = AnalysisSpec(tool="toy", inputs=tuple(models))
    made = tasks(plan([both, *children], Store(tmp_path)).groups)
    assert [len(chunk) for chunk, _ in made if chunk[0].kind == "defend"] == [CHUNK, 1]
    number = {spec.key: i for i, (chunk, _) in enumerate(made) for spec in chunk}
    for i, (chunk, above) in enumerate(made):
        assert above == {number[parent.key] for spec in chunk for parent in spec.parents()}
        assert all(j < i for j in above)


def test_a_grid_of_toys_is_the_same_as_inline(cluster, tmp_path):
    there = on_ray(grid(), Store(tmp_path / "ray" / "runs"))
    here = run(grid(), Store(tmp_path / "inline" / "runs"), device="cpu", progress=False, runners=RUNNERS)
    assert there == here and len(there) == 12


def test_a_worker_that_is_killed_loses_nothing(cluster, tmp_path):
    store = Store(tmp_path / "runs")
    results = on_ray(grid(), store, {**RUNNERS, "train": killed_once})
    assert (tmp_path / "killed").exists() and len(results) == 12
    assert sorted(computed(store)) == sorted({f"{spec.kind}-{spec.key}" for spec in grid()})  # each exactly once


def test_without_retries_a_killed_worker_is_a_failure_and_the_rest_is_kept(cluster, tmp_path):
    with pytest.raises(PaperlibError, match="2 of 12 results are missing") as error:
        on_ray(grid(), Store(tmp_path / "runs"), {**RUNNERS, "train": killed_once}, retries=0)
    assert len(error.value.results) == 10


def test_a_node_that_is_removed_loses_nothing(cluster, tmp_path):
    import threading

    node = patiently(lambda: cluster.add_node(num_cpus=2))
    cluster.wait_for_nodes()

    def remove():
        while len(list(tmp_path.glob("started-*"))) < 3:  # all three of the cluster's cores or more are at work
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=remove)
    thread.start()
    results = on_ray(grid(), Store(tmp_path / "runs"), {**RUNNERS, "train": slow})
    thread.join()
    assert len(results) == 12


def test_real_models_are_bit_equal_to_inline(cluster, tmp_path, monkeypatch):
    import torch

    from paperlib.experiments.scene import restore

    scale = SMOKE.__class__(
        **{**SMOKE.__dict__, "n_train": 200, "n_test": 100, "epochs": 2, "n_clean": 40, "defense_epochs": 2}
    )
    models = [experiments.train(scale, name) for name in ("badnets", "blended")]
    specs = [*models, *(experiments.defend(scale, model, name) for model in models for name in ("ft", "ft_sam"))]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = run(specs, Store(tmp_path / "inline"), device="cpu", progress=False)
    finally:
        torch.set_num_threads(before)
    there = run(specs, Store(tmp_path / "ray"), device="cpu", executor="ray", progress=False)
    for spec in specs:
        untimed = [{k: v for k, v in found[spec.key].items() if k != "seconds"} for found in (here, there)]
        assert untimed[0] == untimed[1]
        a, b = (restore(spec, Store(tmp_path / name), "cpu")[0].state_dict() for name in ("inline", "ray"))
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("options", "words"), [({"gpu": 1}, "gpus"), ({"gpus": 64}, "fit on no node"), ({"cpus": 999}, "cpus=999")]
)
def test_impossible_options_stop_before_any_work(cluster, tmp_path, options, words):
    store = Store(tmp_path / "runs")
    with pytest.raises(PaperlibError, match=words):
        on_ray(grid(), store, **options)
    assert not computed(store)


def test_inline_takes_no_options(tmp_path):
    with pytest.raises(PaperlibError, match="takes no options"):
        run(grid(), Store(tmp_path), device="cpu", options={"gpus": 1}, runners=RUNNERS)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PaperlibError, match=r"paperlib\[cluster\]"):
        on_ray(grid(), Store(tmp_path))
