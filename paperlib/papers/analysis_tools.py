"""What each analysis tool shows of one backdoored model and of its purified twin: the items of notebook 08.

They belong to no paper. The victim is a model of the benchmark's grid, so that notebook 07 has it anyway;
``paperlib list`` and the gallery know the items as those of the benchmark (:data:`ITEMS` is a part of its ``OURS``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from paperlib.analysis import TOOLS
from paperlib.attacks import ATTACKS, check_ratio
from paperlib.data import folder
from paperlib.defenses import DEFENSES
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec
from paperlib.models import MODELS as ARCHITECTURES
from paperlib.papers import Item, Results
from paperlib.papers.captions import artefact, images
from paperlib.report import analysis_figures as figures
from paperlib.report import style
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

PAPER, NOTEBOOK = "benchmark", "08_analysis_tools"
Result = Mapping[str, Any]
MODELS = ("backdoored", "purified")


@dataclass(frozen=True)
class Twins:
    """The two models that are looked at: backdoored by ``attack``, and the same after ``defense``."""

    attack: str = "badnets"
    defense: str = "ft_sam"
    ratio: float = 0.1
    dataset: str = ""
    """Empty: that of the scale."""
    model: str = "preact_resnet18"
    n_clean: int = 0
    """Clean images of the defender; 0: those of the scale."""

    def __post_init__(self) -> None:
        choose("attack", self.attack, ATTACKS)
        choose("defense", self.defense, DEFENSES)
        choose("model", self.model, ARCHITECTURES)
        check_ratio(self.ratio)
        if self.n_clean < 0:
            raise PaperlibError(f"n_clean={self.n_clean!r} must be a number of clean images, 1 or more.")

    def specs(self, scale: Scale, seed: int) -> tuple[TrainSpec, DefendSpec]:
        """Their specs; the radius of FT-SAM is that of the scale, as in notebooks 05 and 07."""
        there = scales.on(scale, self.dataset) if self.dataset else scale
        victim = plan.train(there, self.attack, self.ratio, seed=seed, model=self.model)
        more: dict[str, Any] = {"rho": there.rho} if self.defense == "ft_sam" else {}
        return victim, plan.defend(there, victim, self.defense, n_clean=self.n_clean or None, seed=seed, **more)

    @property
    def true_class(self) -> int:
        """Class of the one image that several tools look at: 4, a deer of CIFAR-10; a folder may have few classes."""
        return 1 if folder.is_folder(self.dataset) else 4


TWINS = Twins()
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tsne": {"smoke": {"n": 300}, "laptop": {"n": 1000}, "paper": {"n": 5000}},
    "umap": {"smoke": {"n": 300}, "laptop": {"n": 1000}, "paper": {"n": 5000}},
    "neurons": {"smoke": {"n": 100}, "laptop": {"n": 500}, "paper": {"n": 500}},
    "neuron_activation": {"smoke": {"n": 100}, "laptop": {"n": 1000}, "paper": {"n": 5000}},
    "activation_distribution": {"smoke": {"n": 300, "k": 20, "shown": 8}, "laptop": {"n": 2000}, "paper": {"n": 5000}},
    "activated_images": {
        "smoke": {"n": 300, "shown": 2, "k": 8},
        "laptop": {"n": 2000, "shown": 3, "k": 10},
        "paper": {"n": 5000, "shown": 3, "k": 10},
    },
    "feature_visualisation": {"smoke": {"iterations": 30, "n": 100}, "laptop": {}, "paper": {}},
    "shapley": {
        "smoke": {"backgrounds": 10, "top": 2},
        "laptop": {"backgrounds": 50, "top": 2},
        "paper": {"backgrounds": 200, "top": 2},
    },
    "loss_landscape": {"smoke": {"n": 100, "grid": 5}, "laptop": {"n": 500}, "paper": {}},
    "hessian": {"smoke": {"n": 60, "steps": 8}, "laptop": {}, "paper": {"n": 1000, "steps": 80}},
}
"""Tool -> scale -> how much it looks at; the others have no size."""
ONE_IMAGE = ("feature_maps", "gradcam", "shapley", "frequency_saliency")
FIRST_MODEL = ("activated_images", "activation_distribution", "feature_maps", "feature_visualisation")
"""Tools that look at one model: they run twice."""


def specs(tool: str, scale: Scale, seed: int, twins: Twins = TWINS) -> list[AnalysisSpec]:
    """``tool`` on the two models: one spec, or one for each model where the tool looks at one; of the structure, one
    model's."""
    params = dict(SIZES.get(tool, {}).get(scale.plans, {}))
    if tool in ONE_IMAGE:
        params |= {"true_class": twins.true_class, "index": 1}  # of our laptop models' deer the first that all know
    pair = twins.specs(scale, seed)
    inputs: list[tuple[Spec, ...]] = [pair]
    if tool in FIRST_MODEL:
        inputs = [(one,) for one in pair]
    elif tool == "network_structure":
        inputs = [pair[:1]]
    return [plan.analyse(tool, *models, seed=seed, **params) for models in inputs]


# ------------------------------------------------------------------------------------------- reading what a tool found


@dataclass(frozen=True)
class Seen:
    """What a tool is about, the two sentences that read what it found, and the numbers as a tidy frame."""

    about: str
    reading: str
    frame: pd.DataFrame


def _rates(result: Result) -> list[dict[str, float]]:
    """Per model C-Acc, ASR and R-Acc in percent, counted from its confusion matrices."""
    out = []
    for clean, triggered in zip(result["clean"], result["triggered"], strict=True):
        right, shown = np.array(clean), np.array(triggered)
        out.append(
            {
                "c_acc": 100 * right.trace() / right.sum(),
                "asr": 100 * shown[:, result["target"]].sum() / shown.sum(),
                "r_acc": 100 * shown.trace() / shown.sum(),
            }
        )
    return out


def read_confusion(results: Sequence[Result], after: str) -> Seen:
    """C-Acc, ASR and R-Acc of the very models that are looked at."""
    (result,) = results
    before, then = _rates(result)
    target = result["classes"][result["target"]]
    reading = (
        f"The backdoored model takes {before['asr']:.1f} % of the triggered images for *{target}*, the purified one"
        f" {then['asr']:.1f} %; {before['r_acc']:.1f} and {then['r_acc']:.1f} % are taken for what they show. The price"
        f" {after} is {before['c_acc'] - then['c_acc']:.1f} points of the clean accuracy of {before['c_acc']:.1f} %."
    )
    rows = [
        {
            "model": model,
            "images": kind,
            "true": result["classes"][i],
            "predicted": result["classes"][j],
            "count": count,
        }
        for kind in ("clean", "triggered")
        for model, matrix in zip(MODELS, result[kind], strict=True)
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
    ]
    return Seen("Confusion matrices, in percent of the true class.", reading, pd.DataFrame(rows))


def read_network_structure(results: Sequence[Result], after: str) -> Seen:
    """Where the weights are."""
    (result,) = results
    frame = pd.DataFrame(result["layers"])
    largest = frame.iloc[frame.parameters.argmax()]
    share = 100 * largest.parameters / result["parameters"]
    convolutions = frame[frame.kind == "Conv2d"]
    reading = (
        f"{(frame.parameters > 0).sum()} layers hold {result['parameters']:,} weights, {share:.0f} % of them in"
        f" `{largest['name']}` alone. {100 * convolutions.parameters.sum() / result['parameters']:.0f} % belong to the"
        f" {len(convolutions)} convolutions; the last, `{convolutions.name.iloc[-1]}`, puts out"
        f" {'x'.join(map(str, convolutions['shape'].iloc[-1]))}."
    )
    frame["shape"] = ["x".join(map(str, shape)) for shape in frame["shape"]]
    return Seen("The layers that have weights, in the order of computing.", reading, frame)


def neighbours(xy: Any, y: Any, poisoned: Any, target: int) -> tuple[float, float]:
    """Of the poisoned points the share whose nearest other point is poisoned, and whose nearest clean point is of
    ``target``."""
    points, labels, mask = np.asarray(xy, float), np.asarray(y), np.asarray(poisoned, bool)
    distance = ((points[mask][:, None] - points[None]) ** 2).sum(2)
    distance[np.arange(mask.sum()), np.flatnonzero(mask)] = np.inf
    own = mask[distance.argmin(1)].mean()
    of_target = (labels[~mask][distance[:, ~mask].argmin(1)] == target).mean()
    return float(own), float(of_target)


def read_embedding(results: Sequence[Result], after: str) -> Seen:
    """Whether the poisoned images are a cluster of their own, and where it lies."""
    (result,) = results
    poisoned = np.asarray(result["poisoned"], bool)
    target = int(np.bincount(np.asarray(result["y"])[poisoned]).argmax())
    (own, near), (own_then, near_then) = (neighbours(xy, result["y"], poisoned, target) for xy in result["xy"])
    reading = (
        f"In the backdoored model {100 * own:.0f} % of the poisoned images have a poisoned image as their nearest"
        f" neighbour, {after} {100 * own_then:.0f} %, where {100 * poisoned.mean():.0f} % of all images are poisoned."
        f" Of their nearest clean images {100 * near:.0f} % and then {100 * near_then:.0f} % are of the target class."
    )
    rows = [
        {"model": model, "x": x, "y": up, "label": label, "poisoned": p}
        for model, xy in zip(MODELS, result["xy"], strict=True)
        for (x, up), label, p in zip(xy, result["y"], result["poisoned"], strict=True)
    ]
    return Seen("Features of training images; colour: label, black crosses: poisoned.", reading, pd.DataFrame(rows))


def read_neurons(results: Sequence[Result], after: str) -> Seen:
    """What purification does to the neurons that react to the trigger."""
    (result,) = results
    (norm, norm_then), (tac, tac_then) = np.array(result["norm"]), np.array(result["tac"])
    top = tac.argsort()[::-1][: max(1, len(tac) // 10)]
    rank = [pd.Series(n).rank().corr(pd.Series(t).rank()) for n, t in zip(result["norm"], result["tac"], strict=True)]
    reading = (
        f"The tenth of the neurons that the trigger changes most has a mean TAC of {tac[top].mean():.2f}, and {after}"
        f" of {tac_then[top].mean():.2f}, while the mean norm of their weights goes from {norm[top].mean():.3f} to"
        f" {norm_then[top].mean():.3f}. The rank correlation of norm and TAC over all neurons is {rank[0]:.2f} and then"
        f" {rank[1]:.2f}."
    )
    rows = [
        {"model": model, "neuron": i, "norm": n, "tac": t}
        for model, norms, tacs in zip(MODELS, result["norm"], result["tac"], strict=True)
        for i, (n, t) in enumerate(zip(norms, tacs, strict=True))
    ]
    return Seen("Norm of the weights of every neuron and its trigger-activated change.", reading, pd.DataFrame(rows))


def read_neuron_activation(results: Sequence[Result], after: str) -> Seen:
    """The neuron that poisoned images drive most."""
    (result,) = results
    excess = np.array(result["poisoned"]) - np.array(result["clean"])
    k = int(excess[0].argmax())
    distance = np.abs(excess).mean(1)
    reading = (
        f"Neuron {k} gains most from the poison: {result['poisoned'][0][k]:.2f} where clean images bring"
        f" {result['clean'][0][k]:.2f}; {after} it is {result['poisoned'][1][k]:.2f} and {result['clean'][1][k]:.2f}."
        f" Over all neurons the two means are {distance[0]:.3f} apart in the backdoored model and {distance[1]:.3f} in"
        " the purified one."
    )
    rows = [
        {"model": model, "neuron": i, "group": group, "activation": value}
        for group in ("clean", "poisoned")
        for model, values in zip(MODELS, result[group], strict=True)
        for i, value in enumerate(values)
    ]
    return Seen("Mean activation of every neuron over clean and over poisoned images.", reading, pd.DataFrame(rows))


def read_activation_distribution(results: Sequence[Result], after: str) -> Seen:
    """How many neurons belong to the backdoor."""
    owned = [sum(share > 0.5 for share in result["share"]) for result in results]
    most = [100 * max(result["share"]) for result in results]
    count = len(results[0]["share"])
    reading = (
        f"Of {count} neurons {owned[0]} have more poisoned than clean images among those that activate them most, and"
        f" {after} {owned[1]}. The neuron with most poison among its strongest images has {most[0]:.0f} % of it, then"
        f" {most[1]:.0f} %."
    )
    rows = [
        {"model": model, "neuron": neuron, "class": name, "clean": c, "poisoned": p}
        for model, result in zip(MODELS, results, strict=True)
        for neuron, clean, poisoned in zip(result["neurons"], result["clean"], result["poisoned"], strict=True)
        for name, c, p in zip(result["classes"], clean, poisoned, strict=True)
    ]
    return Seen(
        "Classes of the images that activate the neurons most, of the neurons that poison drives most.", reading,
        pd.DataFrame(rows)
    )  # fmt: skip


def read_activated_images(results: Sequence[Result], after: str) -> Seen:
    """Whether what activates a neuron most is the trigger."""
    shares = [100 * np.mean(result["poisoned"]) for result in results]
    classes = [len({label for row in result["labels"] for label in row}) for result in results]
    reading = (
        f"Of the images shown for the neurons that poison drives most {shares[0]:.0f} % carry the trigger (framed),"
        f" {after} {shares[1]:.0f} %. They carry {classes[0]} different labels, and then {classes[1]}."
    )
    rows = [
        {"model": model, "neuron": neuron, "rank": rank, "activation": a, "label": label, "poisoned": p}
        for model, result in zip(MODELS, results, strict=True)
        for neuron, *columns in zip(*(result[n] for n in ("neurons", "activation", "labels", "poisoned")), strict=True)
        for rank, (a, label, p) in enumerate(zip(*columns, strict=True), 1)
    ]
    return Seen("Training images that activate a neuron most, strongest first.", reading, pd.DataFrame(rows))


def read_feature_maps(results: Sequence[Result], after: str) -> Seen:
    """How far the trigger moves the channels."""
    change = [np.abs(np.diff(np.asarray(result["maps"]), axis=0)[0]).mean((1, 2)) for result in results]
    both = sorted(set(results[0]["channels"]) & set(results[1]["channels"]))
    reading = (
        f"The trigger moves channel {results[0]['channels'][0]} of the backdoored model by {change[0][0]:.2f} on"
        f" average over its positions, and {after} no channel by more than {change[1].max():.2f}. {len(both)} of the"
        f" {len(results[0]['channels'])} channels that change most are the same in both models."
    )
    rows = [
        {"model": model, "channel": channel, "change": value}
        for model, result, values in zip(MODELS, results, change, strict=True)
        for channel, value in zip(result["channels"], values, strict=True)
    ]
    return Seen(
        f"Channels of `{results[0]['layer']}` that change most between one image and the same with the trigger.",
        reading, pd.DataFrame(rows)
    )  # fmt: skip


def read_feature_visualisation(results: Sequence[Result], after: str) -> Seen:
    """How strongly the neurons can be activated."""
    first, gain = (
        [result["neurons"][0] for result in results],
        [np.mean(result["final"]) - np.mean(result["start"]) for result in results],
    )
    reading = (
        f"An image made for neuron {first[0]} brings it from {results[0]['start'][0]:.2f} to"
        f" {results[0]['final'][0]:.2f} in the backdoored model; {after} neuron {first[1]}, the one that poison drives"
        f" most there, goes from {results[1]['start'][0]:.2f} to {results[1]['final'][0]:.2f}. The mean gain over the"
        f" neurons shown is {gain[0]:.2f} and then {gain[1]:.2f}."
    )
    rows = [
        {"model": model, "neuron": neuron, "start": start, "final": final}
        for model, result in zip(MODELS, results, strict=True)
        for neuron, start, final in zip(result["neurons"], result["start"], result["final"], strict=True)
    ]
    return Seen("Images made to activate the neurons that poison drives most.", reading, pd.DataFrame(rows))


def changed_pixels(result: Result) -> np.ndarray:
    """Where the trigger changed the image: bool (H, W)."""
    clean, triggered = (figures.picture(text, result["shape"]).astype(int) for text in result["images"])
    return np.asarray((clean != triggered).any(2))


def share_on(mask: np.ndarray, values: Any) -> float:
    """Share of the mass of a map (h, w) >= 0 that lies on the pixels of ``mask`` (H, W), the map spread over the
    image."""
    heat = np.asarray(values, float)
    rows, columns = (np.arange(n) * m // n for n, m in zip(mask.shape, heat.shape, strict=True))
    spread = heat[np.ix_(rows, columns)]
    return float(spread[mask].sum() / max(spread.sum(), 1e-12))


def read_gradcam(results: Sequence[Result], after: str) -> Seen:
    """Whether the class is decided on the trigger."""
    (result,) = results
    mask = changed_pixels(result)
    (clean, heat), (clean_then, heat_then) = ([share_on(mask, values) for values in maps] for maps in result["maps"])
    (plain, said), (plain_then, said_then) = result["predicted"]
    reading = (
        f"The backdoored model answers class {plain} without and {said} with the trigger, and {100 * clean:.0f} and"
        f" {100 * heat:.0f} % of the heat lie on the {100 * mask.mean():.1f} % of the pixels that the trigger changes."
        f" {_capital(after)} it answers {plain_then} and {said_then}, with {100 * clean_then:.0f} and"
        f" {100 * heat_then:.0f} % of the heat there."
    )
    rows = [
        {"model": model, "image": kind, "predicted": p, "heat_on_trigger": share_on(mask, values)}
        for model, maps, predicted in zip(MODELS, result["maps"], result["predicted"], strict=True)
        for kind, values, p in zip(figures.PAIR, maps, predicted, strict=True)
    ]
    return Seen("Grad-CAM of the class that is answered.", reading, pd.DataFrame(rows))


def read_shapley(results: Sequence[Result], after: str) -> Seen:
    """Which pixels raise the score of the answer."""
    (result,) = results
    mask = changed_pixels(result)
    shares = [share_on(mask, np.abs(values[1][0])) for values in result["values"]]
    sums, classes = [one[1][0] for one in result["sum"]], [one[1][0] for one in result["classes"]]
    reading = (
        f"With the trigger the score of class {classes[0]} lies {sums[0]:.1f} above its mean over the background"
        f" images, and {100 * shares[0]:.0f} % of the sum of absolute values comes from the {100 * mask.mean():.1f} %"
        f" of the pixels that the trigger changed. {_capital(after)} the highest score is that of class {classes[1]},"
        f" by {sums[1]:.1f}, and {100 * shares[1]:.0f} % comes from there."
    )
    rows = [
        {"model": model, "image": kind, "class": c, "sum": total, "on_trigger": share_on(mask, np.abs(values))}
        for model, *groups in zip(MODELS, result["classes"], result["sum"], result["values"], strict=True)
        for kind, *columns in zip(figures.PAIR, *groups, strict=True)
        for c, total, values in zip(*columns, strict=True)
    ]
    return Seen(
        "Shapley values of the classes with the highest scores; red raises a score.", reading, pd.DataFrame(rows)
    )


def low_frequencies(values: Any) -> float:
    """Mean of a saliency map (H, W), zero frequency in the middle, over the inner half of the radius, less that over
    the rest."""
    found = np.asarray(values, float)
    height, width = found.shape
    y, x = np.mgrid[:height, :width]
    inner = np.hypot((y - height // 2) / (height / 2), (x - width // 2) / (width / 2)) < 0.5
    return float(found[inner].mean() - found[~inner].mean())


def read_frequency_saliency(results: Sequence[Result], after: str) -> Seen:
    """Whether low or high frequencies decide."""
    (result,) = results
    (plain, shown), (plain_then, shown_then) = ([low_frequencies(values) for values in maps] for maps in result["maps"])
    reading = (
        f"On a scale from 0 to 1 the inner half of the frequencies counts {plain:+.2f} more than the outer in the"
        f" backdoored model on the clean image, and {shown:+.2f} with the trigger. {_capital(after)} it is"
        f" {plain_then:+.2f} and {shown_then:+.2f}."
    )
    rows = [
        {"model": model, "image": kind, "inner_less_outer": low_frequencies(values)}
        for model, maps in zip(MODELS, result["maps"], strict=True)
        for kind, values in zip(figures.PAIR, maps, strict=True)
    ]
    return Seen("Frequency saliency, the zero frequency in the middle.", reading, pd.DataFrame(rows))


OUTLIER = 3.0
"""Standard deviations above the mean of its layer from which a channel counts as an outlier: the rule of the defense
CLP."""


def read_lipschitz(results: Sequence[Result], after: str) -> Seen:
    """Channels that stick out of their layer."""
    (result,) = results
    counts, largest = [], []
    for layers in result["values"]:
        values = [np.array(layer) for layer in layers]
        counts.append(sum(int((v > v.mean() + OUTLIER * v.std()).sum()) for v in values))
        k = int(np.argmax([v.max() for v in values]))
        largest.append((values[k].max(), result["layers"][k]))
    total = sum(map(len, result["values"][0]))
    reading = (
        f"{counts[0]} of {total:,} channels lie more than {OUTLIER:g} standard deviations above the mean of their"
        f" layer, which is what the defense CLP prunes, and {after} {counts[1]}. The largest constant is"
        f" {largest[0][0]:.2f} (`{largest[0][1]}`), then {largest[1][0]:.2f} (`{largest[1][1]}`)."
    )
    rows = [
        {"model": model, "layer": name, "channel": i, "constant": value}
        for model, layers in zip(MODELS, result["values"], strict=True)
        for name, layer in zip(result["layers"], layers, strict=True)
        for i, value in enumerate(layer)
    ]
    return Seen("Lipschitz constant of every channel, layer by layer.", reading, pd.DataFrame(rows))


def read_loss_landscape(results: Sequence[Result], after: str) -> Seen:
    """How low and how wide the two losses lie."""
    (result,) = results
    middle = len(result["at"]) // 2
    here = {kind: [surface[middle][middle] for surface in result[kind]] for kind in figures.PAIR}
    rise = {
        kind: [np.mean([np.mean(s[0]), np.mean(s[-1])]) - s[middle][middle] for s in result[kind]]
        for kind in figures.PAIR
    }
    reading = (
        "The loss of the attacker's aim (triggered images, target label) at the model itself is"
        f" {here['triggered'][0]:.2f}, and {after} {here['triggered'][1]:.2f}; the clean loss goes from"
        f" {here['clean'][0]:.2f} to {here['clean'][1]:.2f}. Between the model and the edges across the first direction"
        f" the clean loss rises by {rise['clean'][0]:.2f} and then {rise['clean'][1]:.2f}, the attacker's changes by"
        f" {rise['triggered'][0]:+.2f} and then {rise['triggered'][1]:+.2f}."
    )
    rows = [
        {"model": model, "images": kind, "first": a, "second": b, "loss": value}
        for kind in figures.PAIR
        for model, surface in zip(MODELS, result[kind], strict=True)
        for a, row in zip(result["at"], surface, strict=True)
        for b, value in zip(result["at"], row, strict=True)
    ]
    return Seen(
        "Loss around the models along two random directions; the cross is the model.", reading, pd.DataFrame(rows)
    )


def read_hessian(results: Sequence[Result], after: str) -> Seen:
    """How curved the two losses are."""
    (result,) = results
    top = {kind: [one["top"][0] for one in result[kind]] for kind in figures.PAIR}
    trace = {kind: [one["trace"] for one in result[kind]] for kind in figures.PAIR}
    reading = (
        f"The largest eigenvalue of the attacker's loss is {top['triggered'][0]:.3g} at the backdoored model and"
        f" {top['triggered'][1]:.3g} {after}, that of the clean loss {top['clean'][0]:.3g} and {top['clean'][1]:.3g}."
        f" The traces are {trace['triggered'][0]:.3g} and {trace['triggered'][1]:.3g} (attacker),"
        f" {trace['clean'][0]:.3g} and {trace['clean'][1]:.3g} (clean)."
    )
    rows = [
        {"model": model, "images": kind, "eigenvalue": at, "density": density}
        for kind in figures.PAIR
        for model, one in zip(MODELS, result[kind], strict=True)
        for at, density in zip(one["at"], one["density"], strict=True)
    ]
    return Seen("Spectral density of the Hessian of the clean and of the attacker's loss.", reading, pd.DataFrame(rows))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


READ: dict[str, Callable[[Sequence[Result], str], Seen]] = {
    "confusion": read_confusion, "network_structure": read_network_structure, "tsne": read_embedding,
    "umap": read_embedding, "neurons": read_neurons, "neuron_activation": read_neuron_activation,
    "activation_distribution": read_activation_distribution, "activated_images": read_activated_images,
    "feature_maps": read_feature_maps, "feature_visualisation": read_feature_visualisation, "gradcam": read_gradcam,
    "shapley": read_shapley, "frequency_saliency": read_frequency_saliency, "lipschitz": read_lipschitz,
    "loss_landscape": read_loss_landscape, "hessian": read_hessian,
}  # fmt: skip
"""Tool -> how its results are read."""


@dataclass(frozen=True)
class ToolFigure:
    """The figure of one tool, of two models that a reader may change."""

    tool: str
    twins: Twins = TWINS

    @property
    def parameters(self) -> tuple[str, ...]:
        """The fields of :class:`Twins`."""
        return tuple(field.name for field in fields(Twins))

    def changed(self, **changes: Any) -> "ToolFigure":
        """The same of other models."""
        return replace(self, twins=replace(self.twins, **changes))

    def item(self) -> Item:
        """As an item of notebook 08."""
        return Item(self.specs, self.draw, self, notebook=NOTEBOOK)

    def specs(self, scale: Scale, seed: int) -> list[Spec]:
        """UMAP is computed only where umap-learn is installed: ``pip install 'paperlib[umap]'``."""
        missing = self.tool == "umap" and find_spec("umap") is None
        return [] if missing else [*specs(self.tool, scale, seed, self.twins)]

    def draw(self, results: Results) -> Artefact:
        """The figure, with the sentences that read it.

        Raises
        ------
        NotRun
            A result is missing.
        """
        tool, twins = self.tool, self.twins
        if (
            not self.specs(results.scale, results.seed)
            and results.get(specs(tool, results.scale, results.seed, twins)[0]) is None
        ):
            raise NotRun("it needs the package umap-learn: pip install umap-learn")
        found = [results.need(spec) for spec in specs(tool, results.scale, results.seed, twins)]
        there = scales.on(results.scale, twins.dataset) if twins.dataset else results.scale
        after = f"after {style.title('defense', twins.defense)}"
        seen = READ[tool](found, after)
        names = ("backdoored", after)[: 1 if tool == "network_structure" else 2]
        caption = (
            f"{TOOLS[tool].title}. {seen.about} {style.title('attack', twins.attack)}, {100 * twins.ratio:g} %"
            f" poisoned, {' and '.join(names)}; {images(there)}, {style.title('model', twins.model)} of width"
            f" {there.width}, {results.scale.name} scale, seed {results.seed}."
        )
        return artefact(
            PAPER, results, f"our_tool_{tool}", "figure", figure=figures.DRAW[tool](*found, names=names),
            frame=seen.frame,
            caption=caption, alt=f"{seen.about} {seen.reading.replace('`', '').replace('*', '')}", reading=seen.reading,
        )  # fmt: skip


ITEMS: dict[str, Item] = {f"our_tool_{tool}": ToolFigure(tool).item() for tool in READ}
"""Id -> item, shown in notebook 08."""
