"""One shape for all registries, and a reader's own methods in them."""

import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from image_toy import images, model, same

from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS, attack
from paperlib.defenses import CLEAN, DEFENSES, NOTHING, defend
from paperlib.detection import DETECTORS, Detection, detect
from paperlib.errors import PaperlibError
from paperlib.experiments import plan
from paperlib.experiments.scales import SMOKE
from paperlib.lab.run import RunFailed, run
from paperlib.lab.store import Store
from paperlib.models import MODELS
from paperlib.registry import Method, Registry
from paperlib.report import style
from paperlib.selection import SELECTIONS

ALL = {
    "attack": ATTACKS,
    "defense": DEFENSES,
    "detector": DETECTORS,
    "strategy": SELECTIONS,
    "model": MODELS,
    "tool": TOOLS,
}


@pytest.fixture(autouse=True)
def unregister():
    yield
    for registry in ALL.values():
        for name in registry.own:
            del registry[name]


@dataclass(frozen=True)
class Halving:
    factor: float = 0.5


def halve(model, data, config, *, seed, progress):
    """The model with its parameters multiplied by ``factor``; it sees ``data``."""
    made = pickle.loads(pickle.dumps(model))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(config.factor)
    return made, {"images": len(data)}


@dataclass(frozen=True)
class Stripe:
    rows: int = 1
    labels: str = "all_to_one"

    def __call__(self, x):
        x = x.clone()
        x[:, :, : self.rows] = 1
        return x


@pytest.mark.parametrize("kind", ALL)
def test_every_registry_has_one_shape(kind: str) -> None:
    registry = ALL[kind]
    assert isinstance(registry, Registry) and registry.kind == kind
    for name, method in registry.items():
        assert isinstance(method, Method) and method.title and callable(method.load()), name
        if kind in ("defense", "detector", "strategy", "attack"):
            assert registry.settings(name) == method.config_class()(**dict(method.defaults)), name
    with pytest.raises(PaperlibError, match=rf"{kind}='nonsense' is unknown; .*Known: "):
        registry["nonsense"]


def test_access_is_what_the_readme_says() -> None:
    assert DEFENSES["sau"].access == CLEAN and DEFENSES["clp"].access == NOTHING
    assert all(method.access for registry in (DEFENSES, DETECTORS) for method in registry.values())


def test_an_own_defense_works_where_a_name_is_taken() -> None:
    DEFENSES["halving"] = Method.of(halve, Halving, title="Halving", access=CLEAN)
    data = images()
    before = model(data)
    after = defend(before, clean=data, method="halving", factor=0.25, chance_ok=True)
    expected = {name: 0.25 * value for name, value in before.named_parameters()}
    assert same({name: value.detach() for name, value in after.named_parameters()}, expected)
    with pytest.raises(PaperlibError, match="halving parameter='facto' is unknown; did you mean 'factor'"):
        defend(before, clean=data, method="halving", facto=1, chance_ok=True)
    assert style.title("defense", "halving") == style.look("defense", "halving").title == "Halving"
    spec = plan.defend(SMOKE, plan.train(SMOKE, "badnets"), "halving")
    assert spec.n_clean == SMOKE.n_clean and dict(spec.versions)["defense"] == DEFENSES["halving"].version


def test_an_own_attack_and_detector() -> None:
    ATTACKS["stripe"] = Method.of(Stripe, title="Stripe")
    made = attack("stripe", (("rows", 2),))
    assert made(torch.zeros(1, 3, 4, 4)).sum() == 24
    assert plan.train(SMOKE, "stripe").attack == "stripe" and style.title("attack", "stripe") == "Stripe"
    data = images(8)

    def first(data, model, clean, config, *, seed, progress):
        scores = -torch.arange(len(data), dtype=torch.float32)
        return Detection(scores, scores > -2)

    DETECTORS["first"] = Method.of(first, access="nothing")
    assert detect(data, method="first").flagged.tolist() == [True, True, *[False] * 6]


def test_another_source_is_another_version(tmp_path: Path) -> None:
    def one(model, data, config, *, seed, progress):
        return model, {}

    def two(model, data, config, *, seed, progress):
        return model, {"note": 2}

    versions = [Method.of(each, Halving).version for each in (one, two)]
    other = replace(Method.of(one, Stripe), name="one").version
    assert len({*versions, other}) == 3 and Method.of(one, Halving).version == versions[0]
    assert Method.of(one, version=7).version == 7
    with pytest.raises(PaperlibError, match=r"the source of len, .*give version=1"):
        Method.of(len)


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(PaperlibError, match="defense 'mine' must be a Method, not <function halve"):
        DEFENSES["mine"] = halve
    with pytest.raises(PaperlibError, match="function=3 is no method"):
        Method.of(3)
    assert "mine" not in DEFENSES


MODULE = """
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Band:
        labels: str = "all_to_one"

        def __call__(self, x):
            x = x.clone()
            x[..., -1] = 1
            return x

    def nothing(model, data, config, *, seed, progress):
        return model, {"seen": len(data)}
"""


def test_own_methods_run_in_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_methods.py").write_text(dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    import my_methods  # type: ignore[import-not-found]

    ATTACKS["band"] = Method.of(my_methods.Band)
    DEFENSES["nothing"] = Method.of(my_methods.nothing, access=CLEAN)
    victim = plan.train(replace(SMOKE, epochs=1, n_train=100), "band", 0.1)
    spec = plan.defend(SMOKE, victim, "nothing", n_clean=20)
    store = Store(tmp_path / "runs")
    results = run([victim, spec], store, executor="processes", options={"workers": 1}, device="cpu", progress=False)
    assert results[victim.key]["n_poisoned"] == 10 and results[spec.key]["seen"] == 20
    assert results[spec.key]["asr"] == results[victim.key]["asr"]


def test_a_method_of_a_notebook_says_that_other_processes_cannot_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stripe, "__module__", "__main__")  # as in a notebook
    ATTACKS["stripe"] = Method.of(Stripe)
    assert not hasattr(sys.modules["__main__"], "Stripe")
    spec = plan.train(replace(SMOKE, epochs=1, n_train=100), "stripe", 0.1)
    with pytest.raises(
        RunFailed, match=r"the method Stripe cannot be imported: __main__ has no 'Stripe'.*executor='inline'"
    ):
        run([spec], Store(tmp_path), executor="processes", options={"workers": 1}, device="cpu", progress=False)


def test_pickling_keeps_a_method() -> None:
    for method in (DEFENSES["npd"], ATTACKS["badnets_a2a"]):
        assert pickle.loads(pickle.dumps(method)) == method


@pytest.mark.parametrize(
    ("name", "value", "default", "wrong"),
    [
        ("width", 1, 5, ""),
        ("width", 0, 5, "width=0 must be at least 1"),
        ("width", True, 5, "width=True must be a whole number, for example 5"),
        ("width", 2.5, 5, "width=2.5 must be a whole number"),
        ("width", "2", 5, "width='2' must be a whole number"),
        ("lr", True, 0.1, "lr=True must be a number"),
        ("lr", float("nan"), 0.1, "lr=nan must be a finite number"),
        ("lr", 7, 0.1, ""),
        ("lr", -0.1, 0.1, "lr=-0.1 must not be negative"),
        ("anything", -1, -2, ""),
        ("variant", 3, "plain", "variant=3 must be a word"),
        ("flag", 1, False, "flag=1 must be True or False"),
        ("flag", True, False, ""),
        ("ratio", 1.5, 0.1, "ratio=1.5"),
        ("ratio", 1.5, 0.0, "ratio=1.5"),
        ("ratio", 1.5, 1.0, "ratio=1.5"),
        ("ratio", 1.0, 0.1, ""),
        ("ratio", 0.5, 0.1, ""),
        ("ratio", 0, 0.1, ""),
        ("ratio", 3, 2.0, ""),
    ],
)
def test_numbers_of_a_wrong_kind_are_refused(name: str, value: object, default: object, wrong: str) -> None:
    from paperlib.registry import check_numbers

    if not wrong:
        check_numbers(name, value, default)
        return
    with pytest.raises(PaperlibError) as error:
        check_numbers(name, value, default)
    assert str(error.value).startswith(wrong)
