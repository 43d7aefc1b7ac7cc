"""The LPS paper (arXiv 2307.07328): grid, tables, figures and claims of notebook 03.

Setting: Blended, target class 0, PreAct-ResNet18 as surrogate and as victim, small poisoning ratios. A budget is a number of
images per class, times the classes that may be poisoned: then every strategy with a constraint on classes meets it
exactly. None of the paper's numbers is available to us, so nothing is compared with print; the paper's statements are
checked on our results.

The seeds of a scale are the outermost loop of the grid: what was run so far covers whole seeds.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from paperlib import experiments as ex
from paperlib.lab.spec import AnalysisSpec, SelectSpec, Spec, TrainSpec
from paperlib.papers import Item, Results
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict
from paperlib.scales import Scale

PAPER = "selection"
ATTACK = "blended"
STRATEGIES = ("random", "balanced", "fus", "lps")
SEARCHES = ("fus", "lps")
PER_CLASS = {"smoke": (1, 2), "laptop": (1, 2, 4), "paper": (3, 6, 12, 24, 48)}
"""Scale -> poisoned images per class. Those of ``paper`` are the paper's, from memory."""
SEEDS = {"smoke": 2, "laptop": 5, "paper": 5}
CLASSES = 9
"""Classes of digits and of CIFAR-10 that may be poisoned."""
SIZES = {"smoke": 1_240, "laptop": 10_000, "paper": 50_000}
IN_RANGE = (20.0, 90.0)
"""Mean ASR of random selection, in percent, between which a ratio can tell strategies apart."""
UNPUBLISHED = "not published to us"

PLANNED = {
    "fig_overview": "a drawing of the five steps, without a number; the notebook's text has them",
    "table_cifar100": "planned with the paper scale: same grid on another data set",
    "table_tiny": "planned with the paper scale: same grid on another data set",
    "table_defenses": "planned: the defenses are there, and two of the six that the paper uses are not known to us",
    "table_constraints": "planned: LPS has both switches (pc, ce), their runs are not in the grid yet",
    "fig_surrogate": "planned: any model can be the surrogate, the pairs are not in the grid yet",
    "fig_rounds": "planned: T and K are parameters, their sweep is not in the grid yet",
}


# ------------------------------------------------------------------------------------------------------- the grid


def ratio(scale: Scale, per_class: int) -> float:
    """Poisoning ratio of ``per_class`` images of each class but the target."""
    return per_class * CLASSES / SIZES[scale.name]


def seeds(scale: Scale, seed: int) -> range:
    """The seeds of ``scale``, beginning with the notebook's own."""
    return range(seed, seed + SEEDS[scale.name])


def victim(scale: Scale, strategy: str, per_class: int, seed: int) -> TrainSpec:
    """The model that is trained on what ``strategy`` selected."""
    return ex.train(scale, ATTACK, ratio(scale, per_class), seed=seed, selection=strategy)


def chosen(scale: Scale, strategy: str, per_class: int, seed: int) -> SelectSpec:
    """The search of ``strategy``."""
    return ex.select(scale, strategy, ATTACK, ratio(scale, per_class), seed=seed)


def cells(scale: Scale, seed: int) -> Iterator[tuple[int, int, str, TrainSpec]]:
    """Seed, images per class, strategy and victim of every cell, complete seeds first."""
    for s in seeds(scale, seed):
        for k in PER_CLASS[scale.name]:
            for strategy in STRATEGIES:
                yield s, k, strategy, victim(scale, strategy, k, s)


def _grid(scale: Scale, seed: int) -> list[Spec]:
    return [spec for *_, spec in cells(scale, seed)]


def _searches(scale: Scale, seed: int) -> list[Spec]:
    return [chosen(scale, name, k, s) for s in seeds(scale, seed) for k in PER_CLASS[scale.name] for name in SEARCHES]


def montage_spec(scale: Scale, strategy: str, seed: int) -> AnalysisSpec:
    """Pictures of what ``strategy`` selected, at the largest budget and the notebook's own seed."""
    return ex.analyse("selected", victim(scale, strategy, PER_CLASS[scale.name][-1], seed), seed=seed, n=CLASSES)


def _montage(scale: Scale, seed: int) -> list[Spec]:
    return [montage_spec(scale, strategy, seed) for strategy in STRATEGIES]


# ------------------------------------------------------------------------------------------------------- results


def asr_frame(results: Results) -> pd.DataFrame:
    """Tidy: ``per_class, ratio, strategy, seed, asr, c_acc`` of the cells that were run.

    Raises
    ------
    NotRun
        None was.
    """
    rows = []
    for s, k, strategy, spec in cells(results.scale, results.seed):
        if (result := results.get(spec)) is not None:
            rows.append((k, spec.ratio, strategy, s, result["asr"], result["c_acc"]))
    if not rows:
        raise NotRun(f"no result at {results.scale.name} scale")
    return pd.DataFrame(rows, columns=["per_class", "ratio", "strategy", "seed", "asr", "c_acc"])


def _coverage(results: Results, count: int) -> str:
    total = len(list(cells(results.scale, results.seed)))
    return f"{count} of {total} cells"


def in_range(frame: pd.DataFrame) -> list[int]:
    """Budgets, in images per class, at which random selection has a mean ASR within :data:`IN_RANGE`.

    Raises
    ------
    NotRun
        There is none.
    """
    means = frame[frame.strategy == "random"].groupby("per_class").asr.mean()
    found = [int(k) for k in means[means.between(*IN_RANGE)].index]
    if not found:
        raise NotRun(f"random selection has no mean ASR between {IN_RANGE[0]:g} and {IN_RANGE[1]:g}")
    return found


def _pairs(frame: pd.DataFrame, one: str, other: str, budgets: Iterable[int]) -> pd.DataFrame:
    """ASR of two strategies with the same seed and budget."""
    wide = frame[frame.per_class.isin(list(budgets))].pivot(
        index=["per_class", "seed"], columns="strategy", values="asr"
    )
    for name in (one, other):
        if name not in wide:
            raise NotRun(f"{style.title('selection', name)} has no result at these ratios")
    both = wide[[one, other]].dropna()
    if both.empty:
        raise NotRun(f"no seed has both {style.title('selection', one)} and {style.title('selection', other)}")
    return both


def _artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    scale = results.scale
    parameters = {
        "dataset": scale.dataset, "n_train": scale.n_train, "width": scale.width, "epochs": scale.epochs, "attack": ATTACK,
        "per_class": list(PER_CLASS[scale.name]), "seeds": list(seeds(scale, results.seed)),
        "lps": dict(scale.changes.get("lps", {})), "fus": dict(scale.changes.get("fus", {})),
    }  # fmt: skip
    return Artefact(
        paper=PAPER, id=id_, kind=kind, scale=scale.name, seed=results.seed, parameters=parameters,
        results=tuple(sorted(results.used)), **content,
    )  # fmt: skip


def _where(results: Results) -> str:
    scale = results.scale
    return f"{style.title('dataset', scale.dataset)}, {SIZES[scale.name]:,} images, width {scale.width}, Blended."


# ------------------------------------------------------------------------------------------------------- drawing


def _spread(values: "pd.Series[float]") -> str:
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread} ({len(values)})"


def draw_table(results: Results) -> Artefact:
    """ASR of every strategy at every ratio: mean and standard deviation over the seeds, and their number."""
    frame = asr_frame(results)
    rows = []
    for k in sorted(frame.per_class.unique()):
        group = frame[frame.per_class == k]
        row: dict[str, Any] = {"Images per class": int(k), "Ratio, %": f"{100 * group.ratio.iloc[0]:.3g}"}
        for name in STRATEGIES:
            found = group[group.strategy == name]
            row[style.title("selection", name)] = _spread(found.asr) if len(found) else "–"
        rows.append({**row, "C-Acc": _spread(group.c_acc), "Paper": UNPUBLISHED})
    caption = f"ASR (%) by strategy and poisoning ratio. {_where(results)}"
    notes = [
        f"{_coverage(results, len(frame))}. Mean ± standard deviation over seeds (number of seeds). C-Acc: of all strategies.",
        "Random selection draws from all classes, as the benchmark does: about one in ten of its images is of the target class and "
        "teaches the trigger nothing new. The other strategies take none of those.",
        "The paper's table has five ratios and six attacks; its numbers are not available to us.",
    ]
    html = tables.to_html(pd.DataFrame(rows), caption, notes=notes)
    return _artefact(results, "table_cifar10", "table", caption=caption, frame=frame, html=html)


def draw_asr(results: Results) -> Artefact:
    """ASR over the ratio, a line for each strategy, with the standard deviation over seeds."""
    import matplotlib.pyplot as plt

    frame = asr_frame(results)
    budgets = PER_CLASS[results.scale.name]
    with style.context():
        figure, axes = plt.subplots(figsize=(style.COLUMN * 1.3, 2.6))
        said = []
        for i, name in enumerate(STRATEGIES):
            found = frame[frame.strategy == name].groupby("ratio").asr.agg(["mean", "std", "count"]).reset_index()
            if found.empty:
                continue
            x = 100 * found.ratio * (1 + 0.025 * (i - 1.5))  # side by side, so that the bars can be told apart
            axes.errorbar(
                x, found["mean"], yerr=found["std"].fillna(0), capsize=2, **style.look("selection", name).plot()
            )
            said.append(f"{style.title('selection', name)} {found['mean'].iloc[0]:.0f} to {found['mean'].iloc[-1]:.0f}")
        axes.axhspan(*IN_RANGE, color="#f2f2f2", zorder=0)
        axes.set(xscale="log", xlabel="poisoning ratio, %", ylabel="ASR, %", ylim=(0, 100))
        ticks = [100 * ratio(results.scale, k) for k in budgets]
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return _artefact(
        results, "asr", "figure", figure=figure, frame=frame,
        caption=f"ASR over the poisoning ratio, mean and standard deviation over seeds ({_coverage(results, len(frame))}). "
        f"{_where(results)}",
        alt=f"Mean ASR from the smallest to the largest ratio, in percent: {'; '.join(said)}. Grey: the range in which random "
        "selection leaves room in both directions.",
    )  # fmt: skip


def draw_selected(results: Results) -> Artefact:
    """What each strategy selected, with the loss margins that the victim gives to clean and triggered pictures."""
    import matplotlib.pyplot as plt

    found = {name: results.get(montage_spec(results.scale, name, results.seed)) for name in STRATEGIES}
    there = {name: result for name, result in found.items() if result is not None}
    if not there:
        raise NotRun(f"no selected images at {results.scale.name} scale")
    rows, said = [], []
    with style.context():
        figure, axes = plt.subplots(len(there), CLASSES, figsize=(style.PAGE, 0.98 * len(there)), squeeze=False)
        for row, (name, result) in enumerate(there.items()):
            channels, height, width = result["shape"]
            for k in range(CLASSES):
                place = axes[row, k]
                place.set(xticks=[], yticks=[])
                place.grid(False)
                for side in place.spines.values():
                    side.set_visible(False)
                if k < len(result["after"]):
                    pixels = np.frombuffer(base64.b64decode(result["after"][k]), np.uint8)
                    place.imshow(pixels.reshape(height, width, channels))
                    margins = result["clean_margin"][k], result["triggered_margin"][k]
                    place.set_xlabel(f"{margins[0]:.1f} | {margins[1]:.1f}", fontsize=6.5)
                    rows.append((name, k, result["y"][k], *margins))
            axes[row, 0].set_ylabel(style.title("selection", name).replace(" ", "\n"), fontsize=7)
            said.append(
                f"{style.title('selection', name)} {result['mean_clean']:.1f} and {result['mean_triggered']:.1f} "
                f"(random images {result['random_clean']:.1f} and {result['random_triggered']:.1f})"
            )
    frame = pd.DataFrame(rows, columns=["strategy", "position", "label", "clean_margin", "triggered_margin"])
    return _artefact(
        results, "fig_selected", "figure", figure=figure, frame=frame,
        caption="Selected images with their trigger, one of each class first; below each the victim's margin for the true class of "
        f"the clean picture | for the target of the triggered one ({len(there)} of {len(STRATEGIES)} strategies). {_where(results)}",
        alt=f"Rows of pictures, one row for each strategy. Mean margins, clean and triggered: {'; '.join(said)}.",
    )  # fmt: skip


def draw_loss(results: Results) -> Artefact:
    """Loss of clean and of poisoned training images while the victim trains, largest budget, mean over seeds."""
    import matplotlib.pyplot as plt

    budget = PER_CLASS[results.scale.name][-1]
    rows = []
    for s, k, name, spec in cells(results.scale, results.seed):
        if k == budget and (result := results.get(spec)) is not None:
            rows += [(name, s, e["epoch"], e.get("loss_clean"), e.get("loss_poisoned")) for e in result["log"]]
    if not rows:
        raise NotRun(f"no victim with {budget} images per class at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "epoch", "clean", "poisoned"]).astype(
        {"clean": float, "poisoned": float}
    )
    with style.context():
        figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3))
        said = []
        for name in STRATEGIES:
            mean = frame[frame.strategy == name].groupby("epoch")[["clean", "poisoned"]].mean()
            if mean.empty:
                continue
            for place, column in zip(axes, ("poisoned", "clean"), strict=True):
                place.plot(mean.index, mean[column], **style.look("selection", name).plot())
                place.set(xlabel="epoch", ylabel="mean training loss", title=f"{column} images", yscale="log")
            said.append(f"{style.title('selection', name)} {mean.poisoned.iloc[-1]:.2g}")
        axes[0].legend(fontsize=6.5)
    count = frame[["strategy", "seed"]].drop_duplicates().shape[0]
    return _artefact(
        results, "fig_loss", "figure", figure=figure, frame=frame,
        caption=f"Training loss of the victim on poisoned and on clean images, {budget} per class, mean over seeds ({count} of "
        f"{len(STRATEGIES) * SEEDS[results.scale.name]} victims). {_where(results)}",
        alt=f"Mean loss of the poisoned images after the last epoch: {', '.join(said)}. The clean images' curves lie together "
        "where the strategy does not matter for them.",
    )  # fmt: skip


def _notes(results: Results) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Seed, budget, strategy and result of every search that was run."""
    for s in seeds(results.scale, results.seed):
        for k in PER_CLASS[results.scale.name]:
            for name in STRATEGIES[1:]:
                if (result := results.get(chosen(results.scale, name, k, s))) is not None:
                    yield s, k, name, result


def draw_overlap(results: Results) -> Artefact:
    """How much of the mask stays from round to round, and how far it is from where it began."""
    import matplotlib.pyplot as plt

    rows = [
        (name, s, k, t + 1, now, first)
        for s, k, name, result in _notes(results)
        if name in SEARCHES
        for t, (now, first) in enumerate(zip(result["overlap"], result["overlap_first"], strict=True))
    ]
    if not rows:
        raise NotRun(f"no search at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "per_class", "round", "with_previous", "with_first"])
    budgets = sorted(frame.per_class.unique())
    with style.context():
        figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 2.3), sharey=True)
        said = []
        for i, name in enumerate(SEARCHES):
            for k in budgets:
                part = frame[(frame.strategy == name) & (frame.per_class == k)].groupby("round")
                mean = part[["with_previous", "with_first"]].mean() * 100
                if mean.empty:
                    continue
                look = {
                    **style.look("selection", name).plot(),
                    "alpha": 0.4 + 0.6 * (budgets.index(k) + 1) / len(budgets),
                }
                look["label"] = f"{style.title('selection', name)}, {k} per class"
                look["markersize"] = 3 + 1.5 * budgets.index(k) + 0.5 * i
                for place, column in zip(axes, ("with_previous", "with_first"), strict=True):
                    place.plot(mean.index, mean[column], **look)
                said.append(
                    f"{look['label']}: {mean.with_previous.iloc[-1]:.0f} % and {mean.with_first.iloc[-1]:.0f} %"
                )
        for place, title in zip(axes, ("with the round before", "with the first, random draw"), strict=True):
            place.set(xlabel="round", ylim=(-3, 103), title=title)
            place.set_xticks(range(1, int(frame["round"].max()) + 1))
        axes[0].set_ylabel("images in common, %")
        axes[1].legend(fontsize=6.5)
    count = frame[["strategy", "seed", "per_class"]].drop_duplicates().shape[0]
    return _artefact(
        results, "overlap", "figure", figure=figure, frame=frame,
        caption=f"Overlap of the selected sets between rounds, mean over seeds ({count} of {len(_searches(results.scale, results.seed))} "
        f"searches). {_where(results)}",
        alt=f"Images in common in the last round, with the round before and with the first draw: {'; '.join(said)}.",
    )  # fmt: skip


def draw_per_class(results: Results) -> Artefact:
    """How many images of each class a strategy takes, largest budget, mean over seeds."""
    import matplotlib.pyplot as plt

    budget = PER_CLASS[results.scale.name][-1]
    rows = [
        (name, s, label, count)
        for s, k, name, result in _notes(results)
        if k == budget
        for label, count in enumerate(result["per_class"])
    ]
    if not rows:
        raise NotRun(f"no search with {budget} images per class at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "seed", "label", "count"])
    shown = [name for name in STRATEGIES if name in set(frame.strategy)]
    with style.context():
        figure, axes = plt.subplots(figsize=(style.PAGE, 2.1))
        for i, name in enumerate(shown):
            mean = frame[frame.strategy == name].groupby("label")["count"].mean()
            axes.bar(
                mean.index + 0.8 * (i + 0.5) / len(shown) - 0.4,
                mean,
                0.8 / len(shown),
                **style.look("selection", name).bar(),
            )
        axes.axhline(budget, color="#555555", linewidth=0.8, linestyle=":")
        axes.set(xlabel="true class of the selected images", ylabel="images, mean over seeds")
        axes.set_xticks(sorted(frame.label.unique()))
        axes.legend(fontsize=6.5, ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1))
    spread = frame.groupby(["strategy", "seed"])["count"].agg(lambda c: c.iloc[1:].max() - c.iloc[1:].min())
    said = [f"{style.title('selection', n)} {spread[n].mean():.1f}" for n in shown]
    return _artefact(
        results, "per_class", "figure", figure=figure, frame=frame,
        caption=f"Selected images of each class, {budget} per class on average (dotted); class 0 is the target. {_where(results)}",
        alt=f"Difference between the most and the least selected class in one search, mean over seeds: {', '.join(said)}. None of "
        "these strategies selects images of the target class.",
    )  # fmt: skip


def draw_cost(results: Results) -> Artefact:
    """What a selection costs: epoch equivalents, trainings of the victim, seconds; and the defaults' true cost."""
    from paperlib.registry import configure
    from paperlib.selection import config_class

    scale = results.scale
    frame = pd.DataFrame(
        [(name, s, k, result["epoch_equivalents"], result["seconds"]) for s, k, name, result in _notes(results)],
        columns=["strategy", "seed", "per_class", "epoch_equivalents", "seconds"],
    )
    if frame.empty:
        raise NotRun(f"no search at {scale.name} scale")
    frame["trainings"] = frame.epoch_equivalents / scale.epochs
    rows = []
    for name in STRATEGIES[1:]:
        found = frame[frame.strategy == name]
        if found.empty:
            continue
        config: Any = configure(config_class(name), name)
        default = getattr(config, "rounds", 0) * getattr(config, "epochs", 0)
        default += 2 / 3 * getattr(config, "rounds", 0) * (name == "lps")
        rows.append(
            {
                "Strategy": style.title("selection", name),
                "Epoch equivalents": f"{found.epoch_equivalents.mean():.1f}",
                f"Trainings of the victim ({scale.epochs} epochs)": f"{found.trainings.mean():.2f}",
                "Seconds": f"{found.seconds.mean():.1f}",
                "At its default: epoch equivalents": f"{default:.0f}",
                "Trainings of 100 epochs": f"{default / 100:.2f}",
            }
        )
    caption = f"Cost of a selection, mean over {len(frame)} searches. {_where(results)}"
    notes = [
        "One epoch equivalent is a forward and backward pass over as many images as the training set has; a forward pass alone "
        "counts a third. LPS scores every image that may be poisoned twice in each round.",
        "Random selection costs nothing.",
    ]
    html = tables.to_html(pd.DataFrame(rows), caption, notes=notes)
    return _artefact(results, "cost", "table", caption=caption, frame=frame, html=html)


ITEMS: dict[str, Item] = {
    "table_cifar10": Item(_grid, draw_table),
    "fig_selected": Item(_montage, draw_selected),
    "fig_loss": Item(_grid, draw_loss),
}
OURS: dict[str, Item] = {
    "asr": Item(_grid, draw_asr),
    "overlap": Item(_searches, draw_overlap),
    "per_class": Item(_grid, draw_per_class),
    "cost": Item(_grid, draw_cost),
}


# -------------------------------------------------------------------------------------------------------- claims


def _noise(frame: pd.DataFrame, budgets: Iterable[int]) -> float:
    """Standard deviation of random selection's ASR from seed to seed, mean over budgets."""
    found = frame[(frame.strategy == "random") & frame.per_class.isin(list(budgets))]
    spread = found.groupby("per_class").asr.std().dropna()
    if spread.empty:
        raise NotRun("one seed has no noise; at least two are needed")
    return float(spread.mean())


def _beats(one: str, other: str, results: Results) -> Verdict:
    """Whether ``one`` exceeds ``other`` by more than the seed noise where random selection leaves room."""
    frame = asr_frame(results)
    budgets = in_range(frame)
    both, noise = _pairs(frame, one, other, budgets), _noise(frame, budgets)
    margin = float((both[one] - both[other]).mean())
    names = [style.title("selection", name) for name in (one, other)]
    numbers = {
        f"ASR with {names[0]}": float(both[one].mean()),
        f"with {names[1]}": float(both[other].mean()),
        "margin": margin,
        "seed noise": noise,
    }
    where = ", ".join(f"{100 * ratio(results.scale, k):.2g} %" for k in budgets)
    compared = f"{len(both)} pairs of runs with equal seed and ratio ({where})"
    word = "more" if margin > noise else "not more"
    return Verdict(margin > noise, f"over {compared} the margin is {word} than random's standard deviation", numbers)


def _grows(results: Results) -> Verdict:
    frame = asr_frame(results)
    smallest, largest = PER_CLASS[results.scale.name][0], PER_CLASS[results.scale.name][-1]
    gains = [
        float((both.lps - both.random).mean())
        for both in (_pairs(frame, "lps", "random", [k]) for k in (smallest, largest))
    ]
    return Verdict(
        gains[0] < gains[1],
        f"gain of LPS over random at {smallest} and at {largest} images per class",
        {"gain at the smallest ratio": gains[0], "at the largest": gains[1]},
    )


def _cheap(results: Results) -> Verdict:
    found = [result["epoch_equivalents"] for _, _, name, result in _notes(results) if name == "lps"]
    if not found:
        raise NotRun("no search by LPS")
    trainings = max(found) / results.scale.epochs
    return Verdict(trainings <= 2, "the most expensive search of LPS", {"trainings of the victim": trainings})


CLAIMS = [
    Claim(
        "lps_random", PAPER, "At the same ratio LPS reaches a higher ASR than random selection", "abstract",
        lambda results: _beats("lps", "random", results),
    ),
    Claim(
        "lps_fus", PAPER, "At the same ratio LPS reaches a higher ASR than FUS", "abstract",
        lambda results: _beats("lps", "fus", results),
    ),
    Claim(
        "lps_balanced", PAPER, "The gain of LPS is more than class balance: it beats balanced random selection",
        "ours (the paper ablates the constraint)", lambda results: _beats("lps", "balanced", results),
    ),
    Claim("lowest", PAPER, "LPS gains least at the lowest ratio", "public reviews of the paper", _grows),
    Claim("cheap", PAPER, "LPS costs at most two trainings of the victim", "ours", _cheap),
]  # fmt: skip
