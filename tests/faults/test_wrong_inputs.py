"""Whatever is wrong with what a person gives to a public function: one sentence of :mod:`paperlib.errors`, before any
work.

No mistake ends in a bare traceback, and none in a number. A case is (what is called, what is wrong); a table of
mistakes times the doors that take such a thing makes most of them, the others are written out.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from faults.wrong_toy import DATA, GOOD, MODEL, SIDE, F, X, Y, models, net
from paperlib import analysis, defenses, detection, fairness, metrics
from paperlib.analysis import analyse
from paperlib.analysis.inspection import inspect
from paperlib.attacks import attack, draw, poison, poisoned_test
from paperlib.attacks.badnets import BadNets
from paperlib.attacks.blended import Blended
from paperlib.attacks.scene import own_scene
from paperlib.attacks.sig import SIG
from paperlib.attacks.wanet import WaNet
from paperlib.cli.main import app
from paperlib.data import images, noise
from paperlib.data.images import balanced_subset, clean_subset
from paperlib.data.inputs import from_tensors
from paperlib.defenses import defend
from paperlib.detection import Detection, detect, rates
from paperlib.errors import PaperlibError
from paperlib.interop import art, backdoorbench, huggingface, model_file, timm
from paperlib.models import build, fresh, normalised
from paperlib.selection import select
from paperlib.training import Recipe, pick_device
from paperlib.vdc.cleanse import cleanse

NAN = math.nan
SCENE = own_scene(GOOD, GOOD, BadNets())
Case = tuple[str, Callable[[], Any]]


def data_doors() -> dict[str, Callable[[Any], Any]]:
    """Public functions that take images."""
    return {
        "defend clean": lambda d: defend(MODEL, method="ft", clean=d, epochs=1),
        "defend poisoned": lambda d: defend(MODEL, method="ss", poisoned=d, epochs=1),
        "detect data": lambda d: detect(d, method="ss", model=MODEL),
        "detect clean": lambda d: detect(GOOD, method="scan", model=MODEL, clean=d),
        "poison": lambda d: poison(d, BadNets(), target=0, indices=[0]),
        "scene train": lambda d: own_scene(d, GOOD, BadNets()),
        "scene test": lambda d: analyse(MODEL, own_scene(GOOD, d, BadNets()), tool="confusion"),
        "inspect": lambda d: inspect(MODEL, d, epochs=1, steps=1),
        "select": lambda d: select(*(d if isinstance(d, tuple) and len(d) == 2 else (d, None)), BadNets(), 0.2,
        "random"),
    }  # fmt: skip


def model_doors() -> dict[str, Callable[[Any], Any]]:
    """Public functions that take a model."""
    return {
        "defend": lambda m: defend(m, method="ft", clean=GOOD, epochs=1),
        "detect": lambda m: detect(GOOD, method="ss", model=m),
        "detect with clean": lambda m: detect(GOOD, method="strip", model=m, clean=GOOD),
        "analyse": lambda m: analyse([MODEL, m], SCENE, tool="confusion"),
        "inspect": lambda m: inspect(m, GOOD, epochs=1, steps=1),
        "select": lambda m: select(*GOOD, BadNets(), 0.2, "lps", m, rounds=1, epochs=1, batch_size=8),
    }  # fmt: skip


def option_cases() -> Iterator[Case]:
    """Every number, word and sequence among the hyper-parameters of every method, as what it cannot be."""
    for room in (defenses.DEFENSES, detection.DETECTORS):
        for name in room.package:
            for field in fields(room[name].config_class()):
                for bad in {int: (1.5, "3", NAN), float: (NAN, "0.1", True), str: (3,), bool: ("yes",)}.get(
                    field.type, (NAN, {})
                ):
                    how = {"method": name, field.name: bad, "model": MODEL, "clean": GOOD}
                    if room is defenses.DEFENSES:
                        call = lambda how=how: defend(**{"poisoned": GOOD, **how})  # noqa: E731
                    else:
                        call = lambda how=how: detect(GOOD, **how)  # noqa: E731
                    yield f"{room.kind} {name} {field.name}={bad!r}", call


class Own:
    """A trigger of a person's own."""

    labels = "all_to_one"

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        self.function = function

    def __call__(self, x: torch.Tensor) -> Any:
        return self.function(x)


Y_NP = Y.numpy()
PAIRS: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
    # what is called with one wrong value, and the values
    ("draw: labels", lambda v: draw(Y_NP, 0.2, v, 0, 0), ["celan", "", None, "All_to_one", 3]),
    ("draw: ratio", lambda v: draw(Y_NP, v, "all_to_one", 0, 0), [NAN, math.inf, -0.1, 0, 1, 2, "0.1", None, [0.1]]),
    ("draw: target", lambda v: draw(Y_NP, 0.2, "all_to_one", v, 0), [-1, 4, 1.0, "0", None, NAN, True]),
    ("draw: seed", lambda v: draw(Y_NP, 0.2, "all_to_one", 0, v), [-1, 1.5, "x", None]),
    ("draw: y", lambda v: draw(v, 0.2, "all_to_one", 0, 0), [Y_NP.astype(float), Y_NP.reshape(2, -1), list("abc"), None,
    [], Y_NP - 1, [NAN, 1.0], np.eye(4)]),
    ("poison: indices", lambda v: poison(GOOD, BadNets(), target=0, indices=v), [[1.7], [1.0], Y == 1, [True] * 24,
    [-1], [24], [1, 1], ["a"], None, [[1, 2]], 3, [NAN], "abc"]),
    ("poison: target", lambda v: poison(GOOD, BadNets(), target=v, indices=[0]), [-1, 4, 1.0, "0", None, NAN, True]),
    ("poison: seed", lambda v: poison(GOOD, BadNets(), target=0, indices=[0], seed=v), [-1, 1.5, "x", None]),
    ("poison: attack", lambda v: poison(GOOD, v, target=0, indices=[0]), [None, "badnets", BadNets, lambda x: x,
    BadNets(labels="celan"), attack("lc"), attack("ssba")]),
    ("poison: own trigger", lambda v: poison(GOOD, Own(v), target=0, indices=[0, 1, 2]),
     [lambda x: None, lambda x: x * NAN, lambda x: x[..., :4], lambda x: x.numpy(), lambda x: (x * 255).to(torch.uint8),
     lambda x: x * 255, lambda x: x - 5]),
    ("poison: trigger", lambda v: poison(GOOD, v, target=0, indices=[0]),
     [SIG(delta=NAN), SIG(frequency=math.inf), SIG(delta=-1.0), SIG(delta=3.0), WaNet(s=NAN), Blended(alpha=1.5),
     Blended(alpha=-0.1), BadNets(patch=0), BadNets(patch=-3),
      BadNets(patch=100), BadNets(value=2.0), BadNets(image="no.png")]),
    ("poison: a clean-label trigger on another class", lambda v: poison(GOOD, SIG(labels="clean"), target=0, indices=v),
    [[1], [0, 1]]),
    ("WaNet", lambda v: WaNet(**v), [{"k": 0}, {"cross_ratio": -1.0}]),
    ("attack: name", lambda v: attack(v), ["badnet", "refool", None, 3, ""]),
    ("attack: params", lambda v: attack("sig", v), [(("delta", NAN),), (("detla", 1),), "x", 3, {"frequency": -1.0},
    {"labels": "celan"}, {"delta": "0.1"}]),
    ("attack: state", lambda v: attack("lc", (), v), [3, "x", [1]]),
    ("a trigger on a batch", lambda v: attack("blended")(v), [X, X.float(), F * NAN, F[0], F.numpy(), None, F - 1]),
    ("poisoned_test: target", lambda v: poisoned_test(GOOD, BadNets(), v), [9, 1.5, None, -1]),
    ("poisoned_test: attack", lambda v: poisoned_test(GOOD, v, 0), [None, "badnets", BadNets]),
    ("poisoned_test: data", lambda v: poisoned_test(v, BadNets(), 0), [None, X, (X, Y + 1.0), (X[:1], Y[:1] * 0)]),
    ("own_scene: target", lambda v: own_scene(GOOD, GOOD, BadNets(), target=v), [9, NAN, None, -1]),
    ("own_scene: ratio", lambda v: own_scene(GOOD, GOOD, BadNets(), ratio=v), [NAN, 2, -0.1, None]),
    ("own_scene: attack", lambda v: own_scene(GOOD, GOOD, v), ["badnets", BadNets, 3]),
    ("own_scene: seed", lambda v: own_scene(GOOD, GOOD, BadNets(), seed=v), [-1, 1.5, "x"]),
    ("own_scene: test", lambda v: own_scene(GOOD, v, BadNets()), [(X[..., :8], Y), (X[:, :1], Y), (X, Y + 1)]),
    ("defend: method", lambda v: defend(MODEL, method=v, clean=GOOD), ["ft_sma", "", None, 3]),
    ("defend: seed", lambda v: defend(MODEL, method="ft", clean=GOOD, seed=v), [-1, 1.5, "x", None]),
    ("defend: epochs", lambda v: defend(MODEL, method="nc", clean=GOOD, epochs=v), [-1, 1.5, NAN, "3", None]),
    ("defend: nothing given", lambda v: defend(MODEL, method=v), ["ft", "abl", "npd", "ss"]),
    ("defend: layer", lambda v: defend(MODEL, method="npd", clean=GOOD, layer=v), ["layer5", "conv99", 3]),
    ("defend: selection", lambda v: defend(MODEL, method="anp", clean=GOOD, selection=v), ["papper", "paper", 1]),
    ("defend: an option that is none", lambda v: defend(MODEL, method="ft", clean=GOOD, **{v: 1}), ["epoch",
    "batchsize", "device", "learning_rate"]),
    ("defend: target", lambda v: defend(MODEL, method="npd", clean=GOOD, perturbation="tp", target=v), [9, -1, "first",
    NAN]),
    ("defend: a class without an image", lambda v: defend(MODEL, method="ft", clean=v), [(X[Y < 3], Y[Y < 3]), (X[:2],
    Y[:2])]),
    ("detect: method", lambda v: detect(GOOD, method=v, model=MODEL, clean=GOOD), ["scam", None, 3]),
    ("detect: seed", lambda v: detect(GOOD, method="ss", model=MODEL, seed=v), [-1, 1.5, "x"]),
    ("detect: layer", lambda v: detect(GOOD, method="ss", model=MODEL, layer=v), ["layer5", 3]),
    ("detect: no model", lambda v: detect(GOOD, method=v, clean=GOOD), ["strip", "ss", "ct", "agpd"]),
    ("detect: no clean images", lambda v: detect(GOOD, method=v, model=MODEL), ["strip", "scan", "ct", "frequency"]),
    ("detect: clean images of another size", lambda v: detect(GOOD, method="scan", model=MODEL, clean=v), [(X[..., :8],
    Y), (X[:, :1], Y)]),
    ("detect: frequency", lambda v: detect(GOOD, method="frequency", clean=v), [(X, Y + 1), (X[:1], Y[:1]), (X, Y * 0),
    (torch.full_like(X, 128), Y)]),
    ("detect: kinds of TeCo", lambda v: detect(GOOD, method="teco", model=MODEL, clean=GOOD, kinds=v), [("fogg",
    "noise"), ("brightness",), NAN, "x", (1, 2)]),
    ("detect: severities of TeCo", lambda v: detect(GOOD, method="teco", model=MODEL, clean=GOOD, severities=v), [(9,),
    (-1,), (0,), (), 3, ("a",)]),
    ("detect: lists of CT", lambda v: detect(GOOD, method="ct", model=MODEL, clean=GOOD, **v), [{"keep": NAN},
    {"keep": (2.0,)}, {"keep": ("a",)}, {"weights": (0.5,) * 6}, {"lr": -1}, {"iterations": "x"}]),
    ("analyse: tool", lambda v: analyse(MODEL, SCENE, tool=v), ["gradcma", None, 3]),
    ("analyse: n", lambda v: analyse(MODEL, SCENE, tool="tsne", n=v), [0, -1, 1.5, "x", NAN, None]),
    ("analyse: layer", lambda v: analyse(MODEL, SCENE, tool="tsne", layer=v), ["nope", 3, None]),
    ("analyse: true_class", lambda v: analyse(MODEL, SCENE, tool="gradcam", true_class=v), [99, -1, 1.5, None]),
    ("analyse: index", lambda v: analyse(MODEL, SCENE, tool="gradcam", true_class=1, index=v), [999, -1, "x"]),
    ("analyse: neurons", lambda v: analyse(MODEL, SCENE, tool="activated_images", neurons=v), ["x", 3, None, NAN, (999,
    ), (0.5,)]),
    ("analyse: an option that is none", lambda v: analyse(MODEL, SCENE, tool="confusion", **{v: 1}), ["n_image",
    "device"]),
    ("analyse: seed", lambda v: analyse(MODEL, SCENE, tool="neurons", seed=v), [-1, "x", 1.5]),
    ("analyse: scene", lambda v: analyse(MODEL, v, tool="tsne"), [None, GOOD, "digits"]),
    ("analyse: models", lambda v: analyse(v, SCENE, tool="tsne"), [[], [None], ["a"], None]),
    ("analyse: a clean model", lambda v: analyse(MODEL, own_scene(GOOD, GOOD), tool=v), ["neurons", "gradcam",
    "hessian", "selected", "reactivation", "dynamics"]),
    ("inspect: detectors", lambda v: inspect(MODEL, GOOD, GOOD, detectors=v, epochs=1, steps=1), [("scam",), (None,),
    "scan", 3]),
    ("inspect: epochs", lambda v: inspect(MODEL, GOOD, epochs=v, steps=1), [-1, 0, 1.5, "x", NAN]),
    ("inspect: steps", lambda v: inspect(MODEL, GOOD, epochs=1, steps=v), [-1, 0, 1.5, "x", NAN]),
    ("select: ratio", lambda v: select(*GOOD, BadNets(), v, "random"), [0, 1, NAN, -0.1, "0.1", None, 0.001]),
    ("select: strategy", lambda v: select(*GOOD, BadNets(), 0.2, v), ["lsp", None, 3]),
    ("select: trigger", lambda v: select(*GOOD, v, 0.2, "random"), ["badnet", "ssba", "wanet", 3, None,
    lambda x: None]),
    ("select: target", lambda v: select(*GOOD, BadNets(), 0.2, "random", target=v), [9, 1.5, "0", None]),
    ("select: an option", lambda v: select(*GOOD, BadNets(), 0.2, "lps", width=4, **v), [{"seed": -1},
    {"batch_size": 0}, {"lr": NAN}, {"rounds": 0}, {"epochs": -1}, {"round": 1}, {"alpha": 2}]),
    ("normalised: mean", lambda v: normalised(MODEL, v, (0.5,) * 3), [0.5, "x", (NAN,) * 3, (0.5,), None, ()]),
    ("normalised: std", lambda v: normalised(MODEL, (0.5,) * 3, v), [(0, 0, 0), (-1, 1, 1), (math.inf,) * 3, None]),
    ("normalised: model", lambda v: normalised(v, (0.5,) * 3, (0.5,) * 3), [None, "resnet18", len]),
    ("fresh: model", lambda v: fresh(v, 0), [None, "resnet18", nn.Identity(), nn.Sequential]),
    ("build: name", lambda v: build(v, images.load("digits", "train", 20)), ["resnet19", None, 3]),
    ("build: width", lambda v: build("preact_resnet18", images.load("digits", "train", 20), width=v), [0, -4, 1.5,
    "x"]),
    ("applicable: model", lambda v: detection.applicable("ss", v), [None, "x", 3]),
    ("applicable: method", lambda v: analysis.applicable(v, MODEL), ["gradcma", None]),
    ("load: name", lambda v: images.load(v, "train"), ["cifar11", "folder:/nowhere/at/all", "folder:", "", None, 3]),
    ("load: split", lambda v: images.load("digits", v), ["tarin", None, 0, "val"]),
    ("load: n", lambda v: images.load("digits", "train", v), [-1, 3, 10**6, 1.5, "x"]),
    ("load: seed", lambda v: images.load("digits", "train", 20, v), [-1, 1.5, "x"]),
    ("clean_subset: n", lambda v: clean_subset(Y, v, 0), [0, -1, 3, 25, 1.5, "x"]),
    ("balanced_subset: y", lambda v: balanced_subset(v, 4, 0), [[], None, "abc", [[0, 1], [2, 3]], [0.5, 1.5, NAN,
    2.0]]),
    ("from_tensors: class_names", lambda v: from_tensors(X, Y, class_names=v), [("a",), ("a", "b", "c")]),
    ("noise: rate", lambda v: noise.noisy_labels(Y, "symmetric", v, n_classes=4), [0, 1, NAN, -0.1, "0.1", None]),
    ("noise: kind", lambda v: noise.noisy_labels(Y, v, 0.2, n_classes=4), ["symetric", None, 3]),
    ("noise: n_classes", lambda v: noise.noisy_labels(Y, "symmetric", 0.2, n_classes=v), [0, 1, 2, -1, 1.5, None]),
    ("Recipe: a field", lambda v: Recipe(**v), [{"epochs": -1}, {"epochs": 1.5}, {"lr": NAN}, {"lr": -1.0},
    {"batch_size": 0}, {"schedule": "cosin"}, {"momentum": 2.0}, {"adversarial": 2.0}]),
    ("pick_device", lambda v: pick_device(v), ["gpu", "cuda:99", "", None, 3]),
    ("metrics: accuracy", lambda v: metrics.clean_accuracy(v, [0, 1]), [[0], [], [0.0, 1.0], None, ["a", "b"], [[0, 1]],
    [-1, 0], [NAN, 1]]),
    ("metrics: ASR", lambda v: metrics.attack_success_rate([0, 1], [0, 1], v), [-1, None, 1.5, "0", NAN]),
    ("metrics: DER", lambda v: metrics.der(v, 0.9, 0.9, 0.1, unit="fraction"), [NAN, 1.5, -0.1, "x", None]),
    ("metrics: unit", lambda v: metrics.der(0.9, 0.9, 0.9, 0.1, unit=v), ["percentage", None]),
    ("metrics: detection", lambda v: metrics.detection_rates(v, [True, False]), [[True], [], [0.5, 1.0], None, ["a",
    "b"]]),
    ("rates: dirty", lambda v: rates(Detection(torch.rand(4), torch.rand(4) > 0.5), v), [torch.ones(4,
    dtype=torch.bool), torch.zeros(4, dtype=torch.bool), torch.rand(4), torch.ones(3, dtype=torch.bool), None]),
    ("ART: images", lambda v: art.images(*v), [(X * 2.0, Y), (F, Y[:3]), (None, Y), ("x", Y), (F * NAN, Y), (F,
    Y + 0.5)]),
    ("ART: clip_values", lambda v: art.images(F, Y, clip_values=v), [(1, 1), (0,), None, "x", (1, 0), (NAN, 1)]),
    ("ART: model", lambda v: art.model(v), [None, MODEL, "x"]),
    ("BackdoorBench", lambda v: backdoorbench.load(v), ["no.pt", "", Path("/"), None, 3]),
    ("transformers", lambda v: huggingface.model(v), [None, "google/vit", len]),
    ("timm", lambda v: timm.model(v), [None, "resnet18", 3]),
    ("a model file", lambda v: model_file.load_model(v, 4), ["no.safetensors", "", None, 3]),
]  # fmt: skip
G = np.random.default_rng(0)
A, T, S = G.normal(size=(40, 3)), G.normal(size=40), np.arange(40) % 2
FAIR = fairness.MeanParityRegressor
PAIRS += [
    ("fair: alpha", lambda v: FAIR(alpha=v).fit(A, T, sensitive_features=S), [-1, NAN, "x", None, math.inf]),
    ("fair: unfairness", lambda v: FAIR(unfairness=v).fit(A, T, sensitive_features=S), [-0.1, 1.5, NAN, "x"]),
    ("fair: kernel", lambda v: FAIR(kernel=v).fit(A, T, sensitive_features=S), ["rfb", 3]),
    ("fair: attributes", lambda v: FAIR().fit(A, T, sensitive_features=v), [None, S[:3], [], np.full(40, NAN), [[0]]]),
    ("fair: X", lambda v: FAIR().fit(v, T, sensitive_features=S), [A[:3], A * NAN, [], None, A[0], [["a"]] * 40]),
    ("fair: y", lambda v: FAIR().fit(A, v, sensitive_features=S), [T[:3], T * NAN, None, ["a"] * 40, T * math.inf]),
    ("fair: gap", lambda v: fairness.mean_parity_gap(None, v, sensitive_features=S), [T[:3], T * NAN, None, []]),
    ("fair: gradient descent", lambda v: fairness.FairGDRegressor(**v).fit(A, T, sensitive_features=S),
    [{"max_iter": -1}, {"loss": "squard"}, {"learning_rate": NAN}]),
]  # fmt: skip
PICTURES = X.permute(0, 2, 3, 1).numpy()
NAMES = ["a", "b", "c", "d"]
PAIRS += [
    ("VDC: labels", lambda v: cleanse(PICTURES, v, NAMES), [Y_NP[:3], Y_NP + 1, Y_NP.astype(float), None, [], -Y_NP]),
    ("VDC: images", lambda v: cleanse(v, Y_NP, NAMES), [None, PICTURES[:0], PICTURES / 255.0, "photos",
    ["no.png"] * 24]),
    ("VDC: class_names", lambda v: cleanse(PICTURES, Y_NP, v), [[], None, ["a", "a", "b", "c"], "abcd"]),
    ("VDC: an option", lambda v: cleanse(PICTURES, Y_NP, NAMES, **v),
     [{"alpha": NAN}, {"alpha": 2.0}, {"alpha": "x"}, {"target_fpr": 0.0}, {"engine": "gpt"}, {"judge": "jury"},
     {"score": "votes"}, {"tie": "both"}, {"questions": "no.yaml"}, {"truth": [True]}]),
]  # fmt: skip
WORDS = [
    # what is typed; {m} is a model file, {i} a folder of images
    ("inspect", "no.safetensors", "--images", "{i}"), ("inspect", "{m}", "--images", "nowhere"), ("inspect", "{m}",
    "--images", "{m}"),
    ("inspect", "{m}", "--images", "{e}"), ("inspect", "{m}", "--images", "{o}"), ("inspect", "{m}", "--images", "{b}"),
    ("inspect", "{m}", "--images", "{i}", "--detectors", "scam"), ("inspect", "{m}", "--images", "{i}", "--training",
    "{o}"), ("inspect", "{m}", "--images", "{i}", "--epochs", "0"),
    ("inspect", "{m}", "--images", "{i}", "--steps", "many"), ("inspect", "{m}", "--images", "{i}", "--seed", "-1"),
    ("inspect", "{m}"), ("inspect",),
    ("inspect", "{m}", "--images", "{i}", "--architecture", "resnet19"), ("inspect", "{m}", "--images", "{i}",
    "--normalise", "imagnet"), ("inspect", "{i}", "--images", "{i}"),
    ("purify", "{m}", "--images", "{i}", "--out", "x.pt"), ("purify", "{m}", "--images", "{i}", "--out",
    "x.safetensors", "--method", "ft_sm"),
    ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--method", "abl"), ("purify", "{m}", "--images",
    "{i}", "--out", "x.safetensors", "--params", "epochs=3"),
    ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--params", '{{"epochs": -3}}'), ("purify", "{m}",
    "--images", "{i}", "--out", "x.safetensors", "--params", "[1]"),
    ("purify", "{m}", "--images", "{i}", "--out", "x.safetensors", "--architecture", "nothing:here"), ("purify", "{m}",
    "--images", "{i}"),
]  # fmt: skip


def cases() -> list[Case]:
    found: list[Case] = []
    for door, call in data_doors().items():
        found += [(f"{door}: {kind}", lambda call=call, given=given: call(given)) for kind, given in DATA.items()]
    wrong = models()
    for door, call in model_doors().items():
        found += [
            (f"{door}: model, {kind}", lambda call=call, given=given: call(given)) for kind, given in wrong.items()
        ]
    for what, call, values in PAIRS:
        found += [(f"{what} {i}: {str(v)[:40]}", lambda call=call, v=v: call(v)) for i, v in enumerate(values)]
    return found + list(option_cases())


def what_happened(call: Callable[[], Any]) -> str:
    """Empty: one sentence, as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = call()
        except PaperlibError as error:
            said = str(error)
            fine = "\n" not in said and 20 < len(said) < 900 and said.rstrip()[-1] in ".)"
            return "" if fine else f"no one sentence: {said!r}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:150]}"
    return f"nothing was said, the result is {' '.join(str(made).split())[:80]}"


LEAST = 120


@pytest.mark.filterwarnings("ignore")
def test_every_mistake_is_one_sentence() -> None:
    tried = cases()
    assert len({name for name, _ in tried}) >= LEAST
    found = {name: said for name, call in tried if (said := what_happened(call))}
    print(f"{len(tried)} wrong inputs")
    assert not found, "\n".join(f"{name}: {said}" for name, said in found.items())


@pytest.mark.parametrize("model", [MODEL, net()], ids=["trained", "random"])
def test_the_right_input_is_taken(model: nn.Module) -> None:
    made = defend(model, method="ft", clean=GOOD, epochs=1, chance_ok=True)
    assert made is not model and detect(GOOD, method="ss", model=model, chance_ok=True).flagged.shape == (24,)


def test_every_mistake_on_the_command_line_is_one_sentence(tmp_path: Path) -> None:
    from PIL import Image

    from paperlib.training import save_weights

    places = {"m": tmp_path / "m.safetensors", "i": tmp_path / "images", "e": tmp_path / "empty", "o": tmp_path / "one",
    "b": tmp_path / "broken"}  # fmt: skip
    save_weights(build("preact_resnet18", images.load("digits", "train", 20), width=4), places["m"])
    for name, classes in (("i", 4), ("o", 1), ("b", 2)):
        for k in range(classes):
            (places[name] / str(k)).mkdir(parents=True)
            for i in range(5):
                Image.fromarray(PICTURES[4 * i + k]).save(places[name] / str(k) / f"{i}.png")
    (places["b"] / "0" / "0.png").write_bytes(b"not a picture")
    places["e"].mkdir()
    for words in WORDS:
        done = CliRunner().invoke(app, [word.format(**places) for word in words])
        said = f"{words}: {done.exit_code} {done.output[-300:]} {done.exception!r}"
        assert done.exit_code in (1, 2) and isinstance(done.exception, SystemExit), said
        assert "Traceback" not in done.output and done.stderr.strip(), said
    assert SIDE == 16 and not list(Path().glob("x.*"))
