"""The kinds of experiment, as values: train, prepare, select, cleanse, defend, detect, analyse. Imports no torch.

Each names, with :func:`paperlib.lab.spec.register`, the function that runs it.
"""

from dataclasses import dataclass
from typing import ClassVar

from paperlib.lab.spec import Pairs, Spec, register


@dataclass(frozen=True, kw_only=True)
class PrepareSpec(Spec):
    """What an attack makes before it can poison anything: a universal perturbation, an encoder, adversarial images."""

    kind: ClassVar[str] = "prepare"
    attack: str
    dataset: str
    n_train: int
    attack_params: Pairs = ()
    target: int = 0
    parent: Spec | None = None  # the clean classifier, for attacks that start from one

    def parents(self) -> tuple[Spec, ...]:
        return () if self.parent is None else (self.parent,)

    def _label(self) -> str:
        return f"{self.dataset}-{self.attack}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class SelectSpec(Spec):
    """Which training images an attacker poisons, chosen by a strategy; its result holds the indices."""

    kind: ClassVar[str] = "select"
    strategy: str
    dataset: str
    n_train: int
    attack: str
    ratio: float
    attack_params: Pairs = ()
    prepared: Spec | None = None
    target: int = 0
    model: str = "preact_resnet18"  # the surrogate
    width: int = 64
    batch_size: int = 128
    lr: float = 0.01
    params: Pairs = ()

    def parents(self) -> tuple[Spec, ...]:
        return () if self.prepared is None else (self.prepared,)

    def _label(self) -> str:
        return f"{self.strategy}-{self.dataset}-{self.attack}-{self.ratio:g}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """One classifier trained on one (possibly poisoned) training set."""

    kind: ClassVar[str] = "train"
    dataset: str
    n_train: int  # class-balanced subset of the training set, in images; 0: all of it
    n_test: int = 0  # likewise for the test set
    model: str = "preact_resnet18"
    width: int = 64
    attack: str = "none"
    attack_params: Pairs = ()
    ratio: float = 0.0  # poisoned images / all training images
    target: int = 0
    selection: str = "random"
    epochs: int
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "cosine"  # cosine | one_cycle | constant
    prepared: Spec | None = None  # what the attack made beforehand
    selected: Spec | None = None  # where the poisoned indices come from; None: drawn at random
    adversarial: float = 0.0  # largest change of a pixel in adversarial training; 0: ordinary training
    adversarial_steps: int = 10  # PGD steps per batch, where there are any
    noise: str = ""  # wrong labels, there before the attacker comes: a kind of paperlib.data.noise; empty: none
    noise_ratio: float = 0.0  # wrong labels / all training images, of synthetic noise
    cleansed: Spec | None = None  # trained without what this flagged
    second: Pairs = ()  # another trigger on other images of the same training set: attack, ratio, target; empty: none

    def parents(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in (self.prepared, self.selected, self.cleansed) if spec is not None)

    def _label(self) -> str:
        how = "-adversarial" if self.adversarial else ""
        how += f"-{self.noise}{self.noise_ratio:g}" if self.noise else ""
        how += f"-and-{dict(self.second)['attack']}" if self.second else ""
        how += f"-by-{self.cleansed.engine}" if isinstance(self.cleansed, CleanseSpec) else ""
        return f"{self.dataset}-{self.model}{self.width}-{self.attack}-{self.ratio:g}{how}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class CleanseSpec(Spec):
    """Questions about the pictures of one dirty training set, and which of them do not agree with their label (VDC)."""

    kind: ClassVar[str] = "cleanse"
    dataset: str
    n_train: int  # class-balanced subset of the training set, in images; 0: all of it
    attack: str = "none"
    attack_params: Pairs = ()
    ratio: float = 0.0  # poisoned images / all training images
    target: int = 0
    selection: str = "random"  # random: from all classes, balanced: the same number from every class but the target
    prepared: Spec | None = None  # what the attack made beforehand
    noise: str = ""  # wrong labels, there before the attacker comes; empty: none
    noise_ratio: float = 0.0
    engine: str = "embedded"  # truth: flags exactly what is dirty
    params: Pairs = ()  # of the engine
    questions: str = ""  # a bank that comes along: cifar10, digits, template; empty: that of the class names
    reference: int = 0  # clean labelled images that the engine or the threshold needs; none of them is among n_train
    score: str = ""  # empty: vote with alpha, logit_mean with target_fpr
    alpha: float | None = None  # dirty below it
    target_fpr: float | None = None  # or: chosen on the reference such that this share of clean images is flagged
    tie: str = "clean"

    def parents(self) -> tuple[Spec, ...]:
        return () if self.prepared is None else (self.prepared,)

    def _label(self) -> str:
        dirt = [f"{self.attack}-{self.ratio:g}"] if self.attack != "none" else []
        dirt += [f"{self.noise}{self.noise_ratio:g}"] if self.noise else []
        return f"{self.engine}{self.reference}-{self.dataset}-{'-'.join(dirt) or 'clean'}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class DefendSpec(Spec):
    """One defense applied to one trained classifier."""

    kind: ClassVar[str] = "defend"
    parent: Spec
    defense: str
    params: Pairs = ()
    n_clean: int = 0  # size of the clean subset that the defense may see, in images

    def parents(self) -> tuple[Spec, ...]:
        return (self.parent,)

    def _label(self) -> str:
        return f"{self.defense}-on-{self.parent.label}"


@dataclass(frozen=True, kw_only=True)
class DetectSpec(Spec):
    """One detector applied to the training set of one trained classifier."""

    kind: ClassVar[str] = "detect"
    parent: Spec
    detector: str
    params: Pairs = ()
    n_clean: int = 0  # size of the clean subset that the detector may see, in images

    def parents(self) -> tuple[Spec, ...]:
        return (self.parent,)

    def _label(self) -> str:
        return f"{self.detector}-on-{self.parent.label}"


@dataclass(frozen=True, kw_only=True)
class AnalysisSpec(Spec):
    """One analysis tool applied to one or several models; its result is small JSON that a figure is drawn from."""

    kind: ClassVar[str] = "analysis"
    tool: str
    inputs: tuple[Spec, ...]
    params: Pairs = ()

    def parents(self) -> tuple[Spec, ...]:
        return self.inputs

    def _label(self) -> str:
        return f"{self.tool}-of-{self.inputs[0].label}" if self.inputs else self.tool


register(TrainSpec, "paperlib.experiments.run:run_train")
register(CleanseSpec, "paperlib.experiments.cleanse:run_cleanse")
register(PrepareSpec, "paperlib.experiments.run:run_prepare")
register(SelectSpec, "paperlib.experiments.run:run_select")
register(DefendSpec, "paperlib.experiments.run:run_defend")
register(DetectSpec, "paperlib.experiments.run:run_detect")
register(AnalysisSpec, "paperlib.experiments.run:run_analysis")
