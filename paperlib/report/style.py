"""How every figure looks, and the one colour, marker and line style that each method keeps in all notebooks.

Colour never stands alone: two methods of one family differ in (colour, marker) and in (colour, line style). The hues
are those of seaborn's "colorblind" palette without its two palest (pink and yellow vanish on white), the sky blue
darkened. matplotlib is imported by :func:`context` only, so that display names are at hand without it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from paperlib import attacks, defenses, detection, models, selection
from paperlib.errors import choose
from paperlib.registry import REGISTRIES, Registry

COLUMN, PAGE = 3.3, 6.8
"""Widths in inches of a figure that fills one column, or both."""

PNG_DPI = 200

RC: Any = {
    "figure.figsize": (COLUMN, 2.4),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,  # long enough to tell the dash patterns apart
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "image.cmap": "cividis",
    "svg.hashsalt": "paperlib",  # without a fixed salt every save has other ids
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}

COLOURS = ("#333333", "#de8f05", "#0173b2", "#029e73", "#d55e00", "#b65fa5", "#3a97cf", "#a0693b", "#8a8a8a")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "*", "d")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--")

CLASSES = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
"""Ten colours for the classes of an embedding; poisoned images are drawn black and with another marker."""


def _titles(registry: Registry, names: str, elsewhere: Mapping[str, str]) -> dict[str, str]:
    """Title of each of ``names``: that of its :class:`~paperlib.registry.Method`; ``elsewhere`` has the others."""
    return {name: elsewhere.get(name) or registry[name].title for name in names.split()}


# The position of a name decides its look, so new names go to the END of their family. COLOURS, MARKERS, LINES and
# HATCHES have lengths without a common divisor (9, 13, 5, 7): 45 positions in a row differ in (colour, line), 117 in
# (colour, marker).
ATTACKS = _titles(
    attacks.ATTACKS,
    "none badnets blended sig lf badnets_a2a wanet ssba input_aware lc trojannn bpp ctrl ftrojan blind "
    "lira refool poison_ink tact adap_blend ssba_a2a symmetric asymmetric",
    {
        "none": "Clean", "refool": "ReFool", "poison_ink": "Poison Ink", "tact": "TaCT", "adap_blend": "Adap-Blend",
        "ssba_a2a": "SSBA-A2A", "symmetric": "Symmetric noise", "asymmetric": "Asymmetric noise",
    },
)  # fmt: skip
DEFENSES = _titles(
    defenses.DEFENSES,
    "none ft ft_sam sau npd nad anp fp nc ac ss abl dbd i_bau ep clp bnp mcr rnp d_br d_st nab pruning "
    "pruning+ft_sam anp+ft anp+ft_sam cat sau_spatial sau_ensemble npd_tu npd_tp npd_uu npd_up "
    "agpd+retrain vanilla_at at_from_scratch",
    {
        "none": "No defense", "d_st": "D-ST", "nab": "NAB", "pruning": "Pruning", "pruning+ft_sam": "Pruning + FT-SAM",
        "anp+ft": "ANP + FT", "anp+ft_sam": "ANP + FT-SAM", "cat": "CAT", "sau_spatial": "Spatial SAU",
        "sau_ensemble": "Ensemble SAU", "npd_tu": "NPD-TU", "npd_tp": "NPD-TP", "npd_uu": "NPD-UU", "npd_up": "NPD-UP",
        "agpd+retrain": "AGPD + retraining", "vanilla_at": "Vanilla AT", "at_from_scratch": "AT from scratch",
    },
)  # fmt: skip
SELECTIONS = _titles(selection.SELECTIONS, "random balanced lps fus", {})
DETECTORS = _titles(
    detection.DETECTORS,
    "strip ss vdc scan frequency ct d_br spectre bhn cores cl simifeat_v simifeat_r ac abl beatrix "
    "sentinet teco agpd asset cd",
    {"vdc": "VDC", "asset": "ASSET"},
)
FAIRNESS = {
    "constant": "Constant", "fkr": "FKR", "mp_fair": "MP", "fpr": "FPR", "nrfc": "NRFC", "krr": "KRR", "ols": "OLS",
    "rba": "RBA", "frrm": "FRRM", "zafar": "Zafar", "berk": "Berk", "fkr_1": "FKR-1", "fkr_3": "FKR-3",
    "fpr_1": "FPR-1", "fpr_3": "FPR-3", "mean_shift": "Mean shift", "wasserstein": "Wasserstein barycentre",
    "correlation_remover": "Correlation remover", "bounded_group_loss": "Bounded group loss",
    "adversarial": "Adversarial",
}  # fmt: skip
FAMILIES: dict[str, dict[str, str]] = {
    "attack": ATTACKS,
    "defense": DEFENSES,
    "selection": SELECTIONS,
    "detector": DETECTORS,
    "fairness": FAIRNESS,
}

METRICS = {
    "ACC": "C-Acc", "R-ACC": "R-Acc", "c_acc": "C-Acc", "asr": "ASR", "r_acc": "R-Acc", "der": "DER", "tpr": "TPR",
    "fpr": "FPR",
}  # fmt: skip
MODELS = _titles(
    models.MODELS,
    "preact_resnet18 vgg19 efficientnet_b3 mobilenet_v3_large densenet161 vgg19_bn inception_v3 "
    "convnext_tiny vit_b_16 resnet18 mobilenet_v3_large_fine",
    {"inception_v3": "Inception-V3", "resnet18": "ResNet-18"},
)
PAPERS = {
    "vdc": "VDC", "sau": "SAU", "selection": "LPS", "polarizer": "Neural Polarizer (NPD)", "ft_sam": "FT-SAM",
    "mp_fair_regression": "Mean-parity fair regression", "benchmark": "BackdoorBench",
}  # fmt: skip
DATASETS = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "gtsrb": "GTSRB", "tiny": "Tiny ImageNet",
    "tiny_imagenet": "Tiny ImageNet", "tiny_imagenet20": "Tiny ImageNet, 20 classes",
    "tiny_imagenet20_32": "Tiny ImageNet-20 at 32x32", "gtsrb_sample": "GTSRB (every fourth image)",
    "imagenet100": "ImageNet-100", "imagenet_dog": "ImageNet-Dog", "digits": "digits", "synthetic": "Synthetic",
    "adult": "Adult", "law_school": "Law School", "communities_crime": "Communities & Crime",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one method is drawn, in every notebook."""

    title: str
    colour: str
    marker: str
    line: Any
    hatch: str

    def plot(self) -> dict[str, Any]:
        """Keywords for ``Axes.plot``: label, colour, marker, line style."""
        return {"label": self.title, "color": self.colour, "marker": self.marker, "linestyle": self.line}

    def scatter(self) -> dict[str, Any]:
        """Keywords for ``Axes.scatter``: label, colour, marker."""
        return {"label": self.title, "color": self.colour, "marker": self.marker}

    def bar(self) -> dict[str, Any]:
        """Keywords for ``Axes.bar``: label, colour, hatch (in white, over the colour)."""
        return {"label": self.title, "color": self.colour, "hatch": self.hatch, "edgecolor": "white"}


def look(family: str, name: str) -> Look:
    """The fixed look of a method.

    Parameters
    ----------
    family : {"attack", "defense", "selection", "detector", "fairness"}
    name : str
        The name in the registry, e.g. ``"ft_sam"``.

    Raises
    ------
    PaperlibError
        The family or the name is unknown.
    """
    choose("family", family, FAMILIES)
    names = _known(family)
    # Dark grey, the first colour, is kept for "none" of the two families that have it.
    k = list(names).index(choose(family, name, names)) + (0 if "none" in names else 1)
    return Look(
        title=names[name],
        colour=COLOURS[k % len(COLOURS)],
        marker=MARKERS[k % len(MARKERS)],
        line=LINES[k % len(LINES)],
        hatch=HATCHES[k % len(HATCHES)],
    )


def _known(kind: str) -> dict[str, str]:
    """Name -> title of everything of a kind; a reader's own methods come last."""
    names = {**FAMILIES, "metric": METRICS, "paper": PAPERS, "dataset": DATASETS, "model": MODELS}.get(kind, {})
    registry = REGISTRIES.get({"selection": "strategy"}.get(kind, kind))
    return names if registry is None else {**names, **{n: registry[n].title for n in registry.own}}


def title(kind: str, name: Any) -> str:
    """The printed form of a name (``"ft_sam"``: FT-SAM); a name that is not known is shown as it is."""
    text = _known(kind).get(name, str(name))
    if kind == "attack" and "+" in text:  # two triggers in one training set
        text = " + ".join(title(kind, part) for part in text.split("+"))
    elif kind == "attack" and text.endswith("_a2a"):  # all-to-all labels
        text = f"{title(kind, text.removesuffix('_a2a'))}-A2A"
    if kind == "setting":  # clean_ratio=0.1;split=test
        text = text.replace("_", " ").replace("=", " ").replace(";", ", ")
    return text[0].upper() + text[1:] if text.startswith("average") else text


@contextmanager
def context() -> Iterator[None]:
    """Draw and save inside this: the style applies, and leaves the reader's own settings alone."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's matplotlibrc must not change the figures
        matplotlib.rcParams.update(RC)
        yield


@contextmanager
def subplots(*grid: int, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Figure and axes of ``plt.subplots(*grid, **options)``, drawn in the style."""
    with context():
        import matplotlib.pyplot as plt

        yield plt.subplots(*grid, **options)
