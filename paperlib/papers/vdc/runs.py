"""Which experiments the VDC paper (arXiv 2309.16211) needs.

Setting: dirty CIFAR-10. Poisoned: six triggers, all-to-one with target class 0, the same number of images from every
class but the target, 9 % of the data (SIG too changes the label here). Noisy: 40 % of the labels, symmetric or
asymmetric. Hybrid: both. What VDC finds needs no classifier; its baselines do.

At smoke and laptop scale the paper's multimodal model, which fits into no laptop, has a stand-in: the embedded engine.
It needs clean labelled reference pictures, which the paper's model does not. Every caption says so, with their number.
The baselines of poisoned data run there on the benchmark's models (10 % poisoned, drawn from all classes), which exist
already; SIG changes the label for them too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from paperlib.attacks import ATTACKS as REGISTERED
from paperlib.detection import DETECTORS
from paperlib.errors import PaperlibError, choose
from paperlib.experiments import plan, scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import CleanseSpec, DetectSpec, TrainSpec
from paperlib.lab.spec import Spec, pairs
from paperlib.papers import Item, Results, captions
from paperlib.report import style
from paperlib.report.claims import NotRun
from paperlib.vdc.engines import ENGINES, ON_FEATURES
from paperlib.vdc.questions import BANKS

PAPER = "vdc"
ATTACKS = ("badnets", "blended", "sig", "trojannn", "ssba", "wanet")
"""The paper's, in its order."""
TRIGGERS = {"smoke": ("badnets", "blended", "sig", "wanet"), "laptop": ATTACKS, "paper": ATTACKS}
"""Scale -> triggers; those left out at smoke scale need a preparation of their own."""
LOW_TRIGGERS = {**TRIGGERS, "smoke": ("badnets",)}
AS_IN_THE_PAPER = {"sig": pairs(labels="all_to_one"), "wanet": pairs(cross_ratio=0)}
"""SIG relabels; WaNet is a warp that is put on images once, without images in noise mode."""
ETA, LOW, BENCHMARK = 0.09, 0.009, 0.1
"""Poisoned / all images: Table 1, the low ratio (50 of 5,000 per class), and the benchmark's models."""
CLEAN_LABEL = {"smoke": ("sig",), "laptop": ("sig", "ctrl"), "paper": ("sig", "ctrl")}
"""Scale -> attacks that need no preparation and keep the labels (not in the paper)."""
CLEAN_LABEL_RATIO = 0.05
NOISES = ("symmetric", "asymmetric")
NOISE = 0.4
HUMAN = {"smoke": (), "laptop": ("aggregate", "worst"), "paper": ("aggregate", "worst")}
"""Scale -> labels of CIFAR-10N (not in the paper)."""
HYBRIDS = {"smoke": (("badnets", "symmetric"),), "laptop": (("badnets", "symmetric"), ("blended", "symmetric"))}
"""Scale -> trigger and noise, of the paper's ratios; at paper scale all of them."""
ENGINE: dict[str, dict[str, Any]] = {
    "smoke": {"engine": "embedded", "params": {"side": 32}, "reference": 200, "target_fpr": 0.1},
    "laptop": {"engine": "embedded", "reference": 2_000, "target_fpr": 0.1},
    "paper": {"engine": "transformers", "params": {"model": "Salesforce/instructblip-vicuna-7b"}},
}
"""Scale -> who answers, and where the threshold comes from; without reference it is the paper's 0.5."""
PHOTOS = {"laptop": "tiny_imagenet20_32"}
"""Scale -> what stands in for the photographs of ImageNet-100 and ImageNet-Dog, which are not among our data sets."""
PHOTO_REFERENCE = 1_000
"""Clean reference pictures there: all test images of the twenty classes."""
IMAGENET = {"table2": ("imagenet100", 0.099), "table_imagenet_dog": ("imagenet_dog", ETA)}
"""Table -> its data set and share of poison."""
OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "smoke": ({**ENGINE["smoke"], "reference": 100},),
    "laptop": ({**ENGINE["laptop"], "reference": 500}, {**ENGINE["laptop"], "reference": 200}, {"engine": "embedded"}),
    "paper": (
        {"engine": "transformers", "params": {"model": "llava-hf/llava-1.5-7b-hf"}},
        {"engine": "transformers", "params": {"model": "Qwen/Qwen3-VL-2B-Instruct"}},
        ENGINE["laptop"],
        {"engine": "embedded"},
    ),
}
"""Scale -> other engines. The embedded one without reference goes by ImageNet's taxonomy (which has no digits)."""
EVERY_DETECTOR = ("strip", "ss", "scan", "frequency", "ct", "d_br", "spectre")
DETECTORS_OF_POISON = {
    "smoke": ("strip", "ss", "scan", "frequency", "spectre"),
    "laptop": EVERY_DETECTOR,
    "paper": EVERY_DETECTOR,
}
DETECTORS_OF_NOISE = ("bhn", "cores", "cl", "simifeat_v", "simifeat_r")
JUDGED = {"smoke": ("badnets",), "laptop": ATTACKS, "paper": ATTACKS}
"""Scale -> triggers on which the baselines run, a classifier for each."""
BY_RATIO, RATIOS = "badnets", {"smoke": (), "laptop": (0.01, 0.05), "paper": (0.01, 0.05)}
"""Trigger, and scale -> shares of poison, at which the baselines run beside the usual one (not in the paper)."""
JUDGED_NOISES = {"smoke": ("symmetric",), "laptop": NOISES, "paper": NOISES}
SAME_FEATURES = ("given", "bhn", "cores", "cl", "simifeat_v", "simifeat_r")
"""Methods of :mod:`paperlib.vdc.same_features`; ``given`` is this project's default."""
FAIR = {"smoke": (0, 200), "laptop": (2_400, 800), "paper": (0, 2_000)}
"""Scale -> images of that comparison (0: the scale's) and clean reference images."""
LITTLE = 0.1
"""A share of wrong labels nearer to what data sets have."""
TITLES = {
    "vdc": "VDC, head on the reference",
    "given": "Heads on the labels as they are (ours)",
    **{name: style.title("detector", name) for name in DETECTORS_OF_NOISE},
}
OWN_TERMS = {
    "vdc": "ImageNet features, clean reference images",
    "bhn": "a classifier trained on half of the clean subset",
    "cores": "a classifier trained on the wrong labels with its own loss",
    "cl": "classifiers trained on the wrong labels, five folds",
    "simifeat_v": "features of a classifier trained on the wrong labels",
    "simifeat_r": "features of a classifier trained on the wrong labels",
}
"""Method -> what it sees in the comparison in which each keeps its own paper's assumptions."""
RETRAINED = "blended"
SCORES = {"vote": "vote", "mean_p": "mean probability", "logit_mean": "mean logit"}
PEOPLE = {"aggregate": "CIFAR-10N, majority of three", "worst": "CIFAR-10N, worst of three"}
SLIPPED = {
    "smoke": (0.1,),
    "laptop": (0.005, 0.01, 0.02, 0.05, 0.1),
    "paper": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
}
"""Scale -> poisoned / all images of the curve that says how good a detector has to be."""


# ------------------------------------------------------------------------------------------------------- the grid


def cleaning(scale: Scale, attack: str = "none", ratio: float = ETA, *, seed: int, **changes: Any) -> CleanseSpec:
    """VDC on the paper's data: ``attack`` at ``ratio``, noise by ``noise=`` and ``noise_ratio=``, or both."""
    given = {"selection": "balanced", "attack_params": AS_IN_THE_PAPER.get(attack, ())} if attack != "none" else {}
    return plan.cleanse(scale, attack, ratio, seed=seed, **{**ENGINE[scale.plans], **given, **changes})


def noisy(scale: Scale, noise: str, *, seed: int, **changes: Any) -> CleanseSpec:
    """VDC on wrong labels: synthetic ones at the paper's ratio, people's as they are."""
    return cleaning(scale, noise=noise, noise_ratio=NOISE if noise in NOISES else 0.0, seed=seed, **changes)


def hybrids(scale: Scale) -> tuple[tuple[str, str], ...]:
    """Trigger and noise of every hybrid."""
    return HYBRIDS.get(scale.plans) or tuple((attack, noise) for noise in NOISES for attack in ATTACKS)


def hybrid(scale: Scale, attack: str, noise: str, *, seed: int) -> CleanseSpec:
    """VDC on a set with wrong labels that was poisoned afterwards."""
    return cleaning(scale, attack, noise=noise, noise_ratio=NOISE, seed=seed)


def victim(scale: Scale, attack: str, *, seed: int, **changes: Any) -> TrainSpec:
    """The classifier into which the detectors of poisoned data look: the benchmark's, at paper scale the paper's."""
    if scale.plans != "paper":
        return plan.train(scale, attack, BENCHMARK, seed=seed, **{**_relabelled(attack), **changes})
    if attack == "wanet":  # its attacker trains the classifier and poisons anew in every batch
        return plan.train(scale, attack, ETA, seed=seed)
    given = {"selection": "balanced", "attack_params": AS_IN_THE_PAPER.get(attack, ()), **changes}
    return plan.train(scale, attack, ETA, seed=seed, **given)


def same_data(scale: Scale, attack: str, *, seed: int, **changes: Any) -> CleanseSpec:
    """VDC on exactly the training set of :func:`victim`."""
    if scale.plans == "paper":
        return cleaning(scale, attack, seed=seed, **changes)
    more = {**ENGINE[scale.plans], **_relabelled(attack), **changes}
    return plan.cleanse(scale, attack, BENCHMARK, seed=seed, **more)


def _relabelled(attack: str) -> dict[str, Any]:
    """Parameters of an attack that would leave the label as it is."""
    return {"attack_params": AS_IN_THE_PAPER[attack]} if attack == "sig" else {}


def compared(scale: Scale, seed: int, attacks: Iterable[str] = ATTACKS) -> list[CleanseSpec]:
    """VDC on the training sets into which its baselines look."""
    return [same_data(scale, attack, seed=seed) for attack in JUDGED[scale.plans] if attack in attacks]


def mislabelled(scale: Scale, noise: str, *, seed: int, **changes: Any) -> TrainSpec:
    """The classifier that is trained on wrong labels."""
    return plan.train(scale, noise=noise, noise_ratio=NOISE, seed=seed, **changes)


def photos(scale: Scale) -> Scale | None:
    """``scale`` on what stands in for photographs; None where nothing does."""
    return scales.on(scale, PHOTOS[scale.plans]) if scale.plans in PHOTOS else None


def of_photos(scale: Scale, id_: str, seed: int) -> Iterator[tuple[str, str, Spec]]:
    """Dirt, method and spec of a table on photographs: VDC, and for Table 2 the baselines of poisoned data."""
    if (there := photos(scale)) is None:
        return
    fewer: dict[str, Any] = {"seed": seed, "reference": PHOTO_REFERENCE}
    if id_ not in IMAGENET:
        yield from ((noise, "vdc", noisy(there, noise, **fewer)) for noise in NOISES)
        return
    for attack in ATTACKS:
        yield attack, "vdc", cleaning(there, attack, IMAGENET[id_][1], **fewer)
    if id_ == "table2":
        yield from _detections_of_poison(there, seed)


def _detections_of_poison(scale: Scale, seed: int) -> Iterator[tuple[str, str, DetectSpec]]:
    for attack in JUDGED[scale.plans]:
        for name in DETECTORS_OF_POISON[scale.plans]:
            if name in DETECTORS:
                yield attack, name, plan.detect(scale, victim(scale, attack, seed=seed), name, seed=seed)


def detections(scale: Scale, seed: int) -> Iterator[tuple[str, str, DetectSpec]]:
    """Trigger or noise, detector and spec of every baseline."""
    yield from _detections_of_poison(scale, seed)
    for noise in JUDGED_NOISES[scale.plans]:
        for name in DETECTORS_OF_NOISE:
            yield noise, name, plan.detect(scale, mislabelled(scale, noise, seed=seed), name, seed=seed)


def by_ratio(scale: Scale, seed: int) -> Iterator[tuple[float, str, Spec]]:
    """Share of poison, method and spec of VDC and of the baselines on one trigger; VDC on exactly their data."""
    usual, vdc = victim(scale, BY_RATIO, seed=seed), same_data(scale, BY_RATIO, seed=seed)
    for ratio in (*RATIOS[scale.plans], usual.ratio):
        trained = replace(usual, ratio=ratio)
        yield ratio, "vdc", replace(vdc, ratio=ratio)
        for name in DETECTORS_OF_POISON[scale.plans]:
            yield ratio, name, plan.detect(scale, trained, name, seed=seed)


def fair_dirt(scale: Scale) -> Iterator[tuple[str, float]]:
    """Noise and ratio of the comparison on the same features; people's labels as they are (ratio 0)."""
    if scale.plans == "smoke":
        yield from zip(NOISES, (LITTLE, NOISE), strict=True)
        return
    for noise in NOISES:
        yield from ((noise, LITTLE), (noise, NOISE))
    yield from ((noise, 0.0) for noise in HUMAN[scale.plans])


def fair(scale: Scale, seed: int) -> Iterator[tuple[str, float, str, CleanseSpec]]:
    """Noise, ratio, method and spec of every detector of wrong labels on the same features with the same reference.

    ``vdc`` asks its questions with a head fitted on the reference. At paper scale too the features are the embedded
    engine's.
    """
    options, (n, reference) = ENGINE["smoke" if scale.plans == "smoke" else "laptop"], FAIR[scale.plans]
    for noise, ratio in fair_dirt(scale):
        about: dict[str, Any] = {"noise": noise, "noise_ratio": ratio, "seed": seed, "reference": reference}
        about |= {"n_train": n} if n else {}
        yield noise, ratio, "vdc", plan.cleanse(scale, **{**options, **about})
        for method in SAME_FEATURES:
            params = {**options.get("params", {}), "method": method}
            yield noise, ratio, method, plan.cleanse(scale, engine=ON_FEATURES, params=params, **about)


def retrainings(scale: Scale, seed: int) -> dict[tuple[str, str], TrainSpec]:
    """(dirt, set) -> classifier; the sets are ``dirty`` (nothing removed), ``vdc`` (what it flagged) and ``truth``."""
    truth = {"engine": "truth", "params": None, "reference": 0, "target_fpr": None}
    out = {}
    for name, options in (("dirty", None), ("vdc", {}), ("truth", truth)):
        more: dict[str, Any] = {}
        if options is not None:
            more["cleansed"] = same_data(scale, RETRAINED, seed=seed, **options)
        out[RETRAINED, name] = victim(scale, RETRAINED, seed=seed, **more)
        if scale.plans == "smoke":
            continue
        if options is not None:
            more["cleansed"] = noisy(scale, NOISES[0], seed=seed, **options)
        out[NOISES[0], name] = mislabelled(scale, NOISES[0], seed=seed, **more)
    return out


def slipped(scale: Scale, seed: int) -> dict[float, TrainSpec]:
    """Ratio -> classifier; at 0 all poisoned images were removed."""
    clean = retrainings(scale, seed)[RETRAINED, "truth"]
    return {0.0: clean, **{ratio: plan.train(scale, RETRAINED, ratio, seed=seed) for ratio in SLIPPED[scale.plans]}}


def engines(scale: Scale, seed: int) -> Iterator[tuple[str, CleanseSpec]]:
    """Dirt and spec of every engine that is compared, on one trigger and one noise."""
    for options in (ENGINE[scale.plans], *OTHERS[scale.plans]):
        clear: dict[str, Any] = dict.fromkeys(("params", "target_fpr")) | {"reference": 0, **options}
        yield ATTACKS[0], cleaning(scale, ATTACKS[0], seed=seed, **clear)
        yield NOISES[0], noisy(scale, NOISES[0], seed=seed, **clear)


def columns(scale: Scale, seed: int) -> Iterator[tuple[str, str, CleanseSpec]]:
    """Group, name and spec of everything that VDC is asked to clean."""
    for attack in TRIGGERS[scale.plans]:
        yield "poisoned", attack, cleaning(scale, attack, seed=seed)
    for noise in NOISES:
        yield "noisy", noise, noisy(scale, noise, seed=seed)
    for noise in HUMAN[scale.plans]:
        yield "by people", noise, noisy(scale, noise, seed=seed)
    for attack, noise in hybrids(scale):
        yield "hybrid", f"{attack}+{noise}", hybrid(scale, attack, noise, seed=seed)
    for attack in LOW_TRIGGERS[scale.plans]:
        yield "few", attack, cleaning(scale, attack, LOW, seed=seed)
    for attack in CLEAN_LABEL[scale.plans]:
        yield "clean label", attack, clean_label(scale, attack, seed=seed)


@dataclass(frozen=True)
class Asked:
    """Everything that VDC is asked to clean, as a value that a reader may change; empty is the scale's own."""

    draw: Callable[[Results, Any], Any]
    """From results and columns (:meth:`columns`) to the table."""
    attacks: tuple[str, ...] = ()
    noises: tuple[str, ...] = ()
    engine: str = ""
    questions: str = ""
    target_fpr: float | None = None
    parameters = ("attacks", "noises", "engine", "questions", "target_fpr")

    def changed(self, **changes: Any) -> "Asked":
        """The same of other triggers, wrong labels, engine, bank of questions or share of clean images that may be
        flagged.

        Raises
        ------
        PaperlibError
            An unknown name, or a share that is none.
        """
        for name in changes.get("attacks", ()):
            choose("attack", name, REGISTERED)
        for name in changes.get("noises", ()):
            choose("noise", name, (*NOISES, *PEOPLE))
        if engine := changes.get("engine"):
            choose("engine", engine, ENGINES)
        if questions := changes.get("questions"):
            choose("questions", questions, BANKS)
        if (share := changes.get("target_fpr")) is not None and not 0 < share < 1:
            raise PaperlibError(f"target_fpr={share!r} must lie between 0 and 1: a share of the clean images.")
        kept: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in changes.items()}
        return replace(self, **kept)

    def columns(self, scale: Scale, seed: int) -> Iterator[tuple[str, str, CleanseSpec]]:
        """As :func:`columns`; of other triggers or wrong labels these alone."""
        options: dict[str, Any] = {}
        if self.engine and self.engine != ENGINE[scale.plans]["engine"]:
            options = {**dict.fromkeys(("params", "target_fpr")), "reference": 0, "engine": self.engine}
        if self.questions:
            options |= {"questions": self.questions}
        if self.target_fpr is not None:
            options |= {"target_fpr": self.target_fpr}
        if not (self.attacks or self.noises or options):
            yield from columns(scale, seed)
            return
        for attack in self.attacks or (() if self.noises else TRIGGERS[scale.plans]):
            yield "poisoned", attack, cleaning(scale, attack, seed=seed, **options)
        for noise in self.noises or (() if self.attacks else NOISES):
            yield "noisy", noise, noisy(scale, noise, seed=seed, **options)

    def item(self) -> Item:
        """What is drawn of it."""
        return Item(
            lambda scale, seed: [spec for *_, spec in self.columns(scale, seed)],
            lambda results: self.draw(results, self.columns),
            table=self,  # type: ignore[arg-type]
        )


def of(groups: str, scale: Scale, seed: int) -> list[Spec]:
    """The specs of :func:`columns` whose group is one of ``groups`` (comma-separated; empty: all)."""
    return [spec for group, _, spec in columns(scale, seed) if not groups or group in groups.split(",")]


def clean_label(scale: Scale, attack: str, *, seed: int) -> CleanseSpec:
    """VDC on an attack that leaves the labels right, which VDC cannot see."""
    return plan.cleanse(scale, attack, CLEAN_LABEL_RATIO, seed=seed, **ENGINE[scale.plans])


# ------------------------------------------------------------------------------------------------ their results


def got(
    results: Results, groups: str = "", needed: bool = True, planned: Any = columns
) -> list[tuple[str, str, CleanseSpec, dict[str, Any]]]:
    """The columns that were run: group, name, spec, result.

    Raises
    ------
    NotRun
        None was, and one is needed.
    """
    wanted = [entry for entry in planned(results.scale, results.seed) if not groups or entry[0] in groups.split(",")]
    found = [(*entry, result) for entry in wanted if (result := results.get(entry[2])) is not None]
    if needed and not found:
        raise NotRun(f"no set was cleaned by VDC at {results.scale.name} scale")
    return found


def detected(results: Results, dirts: Iterable[str]) -> list[tuple[str, str, DetectSpec, dict[str, Any]]]:
    """The baselines that were run on these kinds of dirt: dirt, detector, spec, result."""
    kept = set(dirts)
    return [
        (dirt, name, spec, result)
        for dirt, name, spec in detections(results.scale, results.seed)
        if dirt in kept and (result := results.get(spec)) is not None
    ]


def rule(
    result: Mapping[str, Any],
    score: str,
    alpha: float | None = None,
    *,
    tie: str = "clean",
    target: float | None = None,
) -> Any:
    """The rates of a result under a rule; None where it was not evaluated."""
    for entry in result["rules"]:
        same = entry["score"] == score and entry["tie"] == tie and entry.get("target_fpr") == target
        if same and (target is not None or entry["alpha"] == alpha):
            return entry
    return None


def missed(results: Results) -> dict[str, int]:
    """Detector -> poisoned images of the retrained attack that it missed, on the benchmark's set."""
    scale, seed = results.scale, results.seed
    out = {}
    if (result := results.get(same_data(scale, RETRAINED, seed=seed))) is not None:
        out["vdc"] = result["n_missed"]
    n = round(victim(scale, RETRAINED, seed=seed).ratio * (scale.n_train or 50_000))
    for _, name, _, result in detected(results, (RETRAINED,)):
        out[name] = round(n * (1 - result["tpr"] / 100))
    return out


def name_of(dirt: str) -> str:
    """``badnets+symmetric`` -> BadNets + Symmetric noise."""
    return " + ".join(PEOPLE.get(part, style.title("attack", part)) for part in dirt.split("+"))


def engine(result: Mapping[str, Any]) -> str:
    """The engine behind a result in one clause, with what it saw beforehand."""
    seen = (
        f"{result['reference']:,} clean labelled reference images ({result['reference_percent']:g} % of the data's"
        f" size, {result['reference_source']})"
        if result["reference"]
        else "no labelled picture"
    )
    stand_in = ", a stand-in for the paper's InstructBLIP" if result["engine"] == "embedded" else ""
    return f"{result['model']}{stand_in}, {seen}"


def about(found: Iterable[Mapping[str, Any]]) -> str:
    """Two sentences for a caption: who answered, and by which rule."""
    result = next(iter(found), None)
    if result is None:
        return ""
    rule = f"{SCORES[result['score']]} below {result['threshold']:.3g}"
    if result["target_fpr"]:
        rule += f", set on the reference for {100 * result['target_fpr']:g} % false alarms"
    return f"Engine: {engine(result)}; flagged: {rule}."


def data(scale: Scale) -> str:
    """Data set and size, for a caption."""
    return f"{captions.images(scale)}, {scale.name} scale."


def coverage(found: Iterable[Any], wanted: Iterable[Any], what: str) -> str:
    """``5 of 6 triggers``."""
    return f"{len(list(found))} of {len(list(wanted))} {what}"


def number(value: float | None, digits: int = 1) -> str:
    """A number for a cell; a dash where there is none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def dirt_title(noise: str, ratio: float) -> str:
    """``symmetric, 0.1`` -> Symmetric noise 10 %."""
    return f"{name_of(noise)} {100 * ratio:g} %" if ratio else name_of(noise)


def fair_frame(results: Results) -> pd.DataFrame:
    """Every method on every kind of wrong labels, on the same features: what was run, one line each."""
    rows = [
        {"noise": dirt_title(noise, ratio), "ratio": ratio, "method": method, "auroc": result["auroc"],
        "tpr": result["tpr"],
         "fpr": result["fpr"], "f1": result["f1"], "failed": failed(result)}
        for noise, ratio, method, spec in fair(results.scale, results.seed)
        if (result := results.get(spec)) is not None
    ]  # fmt: skip
    if not rows:
        raise NotRun(f"no detector of wrong labels was run on the same features at {results.scale.name} scale")
    return pd.DataFrame(rows)


def failed(result: Mapping[str, Any]) -> str:
    """Why a detector's rule counts in no verdict: it flags nothing, or has collapsed (flags so much that it no longer
    tells); else empty."""
    if result["n_flagged"] == 0:
        return "flags nothing"
    return "collapsed" if result.get("collapsed") or result["fpr"] >= 80 or result["tpr"] == 0 else ""
