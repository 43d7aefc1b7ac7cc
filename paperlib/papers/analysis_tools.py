"""What each analysis tool shows of one backdoored model and of its purified twin: the items of notebook 08.

They belong to no paper. The victim is a model of the benchmark's grid, so that notebook 07 has it anyway; ``paperlib list`` and the
gallery know the items as those of the benchmark (:data:`ITEMS` is a part of its ``OURS``).
"""

from dataclasses import dataclass
from typing import Any

from paperlib.data import folder
from paperlib.experiments import plan as ex
from paperlib.experiments import scales
from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import AnalysisSpec, DefendSpec, TrainSpec
from paperlib.lab.spec import Spec


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

    def specs(self, scale: Scale, seed: int) -> tuple[TrainSpec, DefendSpec]:
        """Their specs; the radius of FT-SAM is that of the scale, as in notebooks 05 and 07."""
        there = scales.on(scale, self.dataset) if self.dataset else scale
        victim = ex.train(there, self.attack, self.ratio, seed=seed, **({"model": self.model} if self.model else {}))
        more: dict[str, Any] = {"rho": there.rho} if self.defense == "ft_sam" else {}
        return victim, ex.defend(there, victim, self.defense, n_clean=self.n_clean or None, seed=seed, **more)

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
    "activation_distribution": {
        "smoke": {"n": 300, "k": 20, "shown": 8}, "laptop": {"n": 2000}, "paper": {"n": 5000},
    },
    "activated_images": {
        "smoke": {"n": 300, "shown": 2, "k": 8}, "laptop": {"n": 2000, "shown": 3, "k": 10}, "paper": {"n": 5000, "shown": 3, "k": 10},
    },
    "feature_visualisation": {"smoke": {"iterations": 30, "n": 100}, "laptop": {}, "paper": {}},
    "shapley": {
        "smoke": {"backgrounds": 10, "top": 2}, "laptop": {"backgrounds": 50, "top": 2}, "paper": {"backgrounds": 200, "top": 2},
    },
    "loss_landscape": {"smoke": {"n": 100, "grid": 5}, "laptop": {"n": 500}, "paper": {}},
    "hessian": {"smoke": {"n": 60, "steps": 8}, "laptop": {}, "paper": {"n": 1000, "steps": 80}},
}  # fmt: skip
"""Tool -> scale -> how much it looks at; the others have no size."""
ONE_IMAGE = ("feature_maps", "gradcam", "shapley", "frequency_saliency")
FIRST_MODEL = ("activated_images", "activation_distribution", "feature_maps", "feature_visualisation")
"""Tools that look at one model: they run twice."""


def specs(tool: str, scale: Scale, seed: int, twins: Twins = TWINS) -> list[AnalysisSpec]:
    """``tool`` on the two models: one spec, or one for each model where the tool looks at one; of the structure, one model's."""
    params = dict(SIZES.get(tool, {}).get(scale.name, {}))
    if tool in ONE_IMAGE:
        params |= {"true_class": twins.true_class, "index": 1}  # of our laptop models' deer the first that all know
    pair = twins.specs(scale, seed)
    inputs: list[tuple[Spec, ...]] = [pair]
    if tool in FIRST_MODEL:
        inputs = [(one,) for one in pair]
    elif tool == "network_structure":
        inputs = [pair[:1]]
    return [ex.analyse(tool, *models, seed=seed, **params) for models in inputs]
