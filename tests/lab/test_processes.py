"""The ``processes`` executor: same results as inline, and nothing lost with a process."""

import os
import signal

import lab_toy
import pytest
from lab_toy import RUNNERS, computed, grid

from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import SMOKE
from paperlib.lab.run import RunFailed, run
from paperlib.lab.store import Store


def side_by_side(specs, store, runners=RUNNERS, **options):
    return run(specs, store, device="cpu", executor="processes", options=options, progress=False, runners=runners)


def mark(context, spec):
    """How often ``spec`` was started, this time included."""
    file = context.store.root.parent / f"started-{spec.kind}-{spec.seed}"
    with open(file, "a", encoding="utf-8") as out:
        out.write(f"{os.getpid()}\n")
    return file.read_text().split()


def killed_once(spec, context):
    """The toy training; the first process that gets seed 3 dies as if by force, half a result written."""
    if len(mark(context, spec)) == 1 and spec.seed == 3:
        (context.folder / "weights.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return lab_toy.train(spec, context)


def always_killed(spec, context):
    if spec.seed == 3:
        mark(context, spec)
        os.kill(os.getpid(), signal.SIGKILL)
    return lab_toy.train(spec, context)


def broken_once(spec, context):
    """The toy training; the first run of seed 1 ends as where a kernel read past its memory."""
    if len(mark(context, spec)) == 1 and spec.seed == 1:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return lab_toy.train(spec, context)


def threads_of_libraries(spec, context):
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    return {"threads": [pool["num_threads"] for pool in threadpool_info()]}


def test_a_process_keeps_to_its_threads(tmp_path, monkeypatch):
    """Not only torch: two processes whose linear algebra takes all cores mostly wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    runners = RUNNERS | {"train": threads_of_libraries}
    for n in (1, 2):
        found = side_by_side(grid(1)[:1], Store(tmp_path / str(n)), runners, workers=1, threads=n)
        assert [set(one["threads"]) for one in found.values()] == [{n}]
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_same_results_as_inline_and_every_run_once(tmp_path):
    specs = grid(4)
    there, here = Store(tmp_path / "processes" / "store"), Store(tmp_path / "inline" / "store")
    assert side_by_side(specs, there, workers=3) == run(specs, here, progress=False, runners=RUNNERS)
    assert sorted(computed(there)) == sorted(computed(here))


def test_a_killed_process_loses_nothing(tmp_path):
    store = Store(tmp_path / "store")
    side_by_side(grid(4), store, RUNNERS | {"train": killed_once}, workers=2)
    assert all(store.has(spec, weights=True) for spec in grid(4))
    assert len((tmp_path / "started-train-3").read_text().split()) == 2


def test_a_run_that_kills_its_process_every_time_fails_and_the_others_finish(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(RunFailed, match="its process died") as failed:
        side_by_side(grid(4), store, RUNNERS | {"train": always_killed}, workers=2)
    assert {(o.spec.kind, o.status) for o in failed.value.outcomes} == {("train", "failed"), ("defend", "blocked")}
    assert len(failed.value.results) == 6
    assert len((tmp_path / "started-train-3").read_text().split()) == 2


def test_a_process_with_a_broken_gpu_context_is_replaced(tmp_path):
    store = Store(tmp_path / "store")
    side_by_side(grid(3), store, RUNNERS | {"train": broken_once}, workers=1)
    first, second = (tmp_path / "started-train-1").read_text().split()
    assert first != second
    assert store.failure(grid(3)[1]) is None


def test_smoke_runs_are_bit_equal(tmp_path):
    victim = plan.train(SMOKE, "badnets", epochs=1, width=4)
    specs = [victim, plan.defend(SMOKE, victim, "ft", epochs=1), plan.defend(SMOKE, victim, "clp")]
    there = side_by_side(specs, Store(tmp_path / "processes"), runners=lab_runners(), workers=2)
    here = run(specs, Store(tmp_path / "inline"), device="cpu", progress=False)
    for results in (there, here):
        for result in results.values():
            result.pop("seconds")
    assert there == here


def lab_runners():
    from paperlib.lab.run import RUNNERS

    return RUNNERS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0 must be at least 1"),
        ({"threads": 0}, "threads=0 must be at least 1"),
        ({"retries": -1}, "retries=-1 must be at least 0"),
        ({"worker": 2}, "did you mean 'workers'"),
    ],
)
def test_bad_options_stop_before_anything_runs(tmp_path, options, message):
    store = Store(tmp_path / "store")
    with pytest.raises(PaperlibError, match=message):
        side_by_side(grid(2), store, **options)
    assert not computed(store)
