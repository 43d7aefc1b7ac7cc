"""The figures of the SAU paper."""

from functools import partial

import numpy as np
import pandas as pd

from paperlib.experiments.scales import Scale
from paperlib.papers import Results
from paperlib.papers.captions import artefact, where
from paperlib.papers.figures import found
from paperlib.papers.sau import runs
from paperlib.report import style
from paperlib.report.artefact import Artefact

_artefact = partial(artefact, runs.PAPER)
RISKS = {
    "backdoor": ("$R_{bd}$ (backdoor)", "#d55e00", "s", "-"),
    "sub": ("$R_{sub}$", "#029e73", "D", "--"),
    "adversarial": ("$R_{adv}$ (adversarial)", "#0173b2", "^", "-."),
    "shared": ("$R_{share}$", "#b65fa5", "v", ":"),
}


def _risk_curve(
    results: Results, id_: str, objectives: str, risks: tuple[str, ...], scale: Scale, text: str
) -> Artefact:
    """C-Acc and some risks over the epochs of one curve of Blended."""
    curve = results.need(runs.curve_spec(scale, "blended", objectives, results.seed))
    epochs = curve["epoch"]
    with style.subplots(1, 2, figsize=(style.PAGE, 2.4)) as (figure, panels):
        panels[0].plot(epochs, curve["c_acc"], color="#333333", marker="o", label="C-Acc")
        panels[0].set(xlabel="epoch", ylabel="C-Acc (%)", ylim=(-4, 104), title="accuracy")
        for name in risks:
            label, colour, marker, line = RISKS[name]
            panels[1].plot(epochs, curve[name], color=colour, marker=marker, linestyle=line, label=label)
        panels[1].set(xlabel="epoch", ylabel="fraction of images", ylim=(-0.04, 1.04), title="risks")
        panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    frames = [pd.DataFrame({"epoch": epochs, "measure": name, "value": curve[name]}) for name in (*risks, "c_acc")]
    told = "; ".join(f"{name} risk {curve[name][0]:.2f} to {curve[name][-1]:.2f}" for name in risks)
    return _artefact(
        results, id_, "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure {id_[3:]}. {text}, Blended, {curve['n']:,} test images. "
        f"{where(results, dataset=scale.dataset)}",
        alt=f"From epoch 0 to {epochs[-1]}: C-Acc {curve['c_acc'][0]:.1f} to {curve['c_acc'][-1]:.1f} percent; {told}.",
    )  # fmt: skip


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: plain adversarial training; its backdoor risk need not follow its adversarial risk."""
    there = runs.ablation(results.scale)
    text = "Vanilla adversarial training: accuracy, backdoor risk and adversarial risk over epochs"
    return _risk_curve(results, "fig1", "C+D", ("backdoor", "adversarial"), there, text)


def draw_fig5(results: Results) -> Artefact:
    """Figure 5: the risks over the epochs of SAU."""
    return _risk_curve(results, "fig5", "A+B", tuple(RISKS), results.scale, "Accuracy and risks over the epochs of SAU")


KIND_LOOKS = {"type I": ("#d55e00", "//"), "type II": ("#0173b2", ""), "type III": ("#de8f05", "..")}


def draw_fig2(results: Results) -> Artefact:
    """Figure 2, measured: how many adversarial examples are of which type, before, during and after SAU."""
    curve = results.need(runs.curve_spec(results.scale, "blended", "A+B", results.seed))
    at, rows, texts = range(len(curve["epoch"])), [], []
    with style.subplots(1, 2, figsize=(style.PAGE, 2.5), sharey=True) as (figure, panels):
        titles = {"shared": "sought as SAU does", "vanilla": "sought by plain PGD"}
        for axes, (inner, title) in zip(panels, titles.items(), strict=True):
            shares = np.array(curve["types"][inner]) / curve["n"]
            bottom = np.zeros(len(at))
            for (kind, (colour, hatch)), values in zip(KIND_LOOKS.items(), shares.T, strict=True):
                axes.bar(at, values, 0.8, bottom=bottom, color=colour, hatch=hatch, edgecolor="white", label=kind)
                bottom += values
                rows += [
                    {"epoch": e, "inner": inner, "kind": kind, "share": v}
                    for e, v in zip(curve["epoch"], values, strict=True)
                ]
            axes.set_xticks(at, [str(epoch) for epoch in curve["epoch"]])
            axes.set(xlabel="epoch of SAU", ylim=(0, 1.02), title=title)
            axes.grid(axis="x", visible=False)
            texts.append(f"{title}: type I {shares[0, 0]:.2f} before and {shares[-1, 0]:.2f} after SAU")
        panels[0].set_ylabel("share of test images")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=pd.DataFrame(rows),
        caption="Figure 2, measured where the paper has a schematic. Adversarial examples by type over the epochs of "
        f"SAU, Blended, {curve['n']:,} test images. {where(results)}",
        alt=f"Stacked bars of the share of images with an adversarial example. {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc and ASR over the epochs of the four ablations."""
    curves = found(results, runs.curves(results.scale, results.seed), "learning curve")
    frame = pd.concat(
        pd.DataFrame({"attack": a, "objectives": name, "epoch": c["epoch"], "metric": metric, "value": c[metric]})
        for (a, name), c in curves.items()
        for metric in ("c_acc", "asr")
    )
    attacks, texts = list(dict.fromkeys(frame.attack)), []
    size = (style.PAGE, 0.4 + 2.1 * len(attacks))
    with style.subplots(len(attacks), 2, figsize=size, squeeze=False, sharex=True) as (figure, panels):
        for line, attack in zip(panels, attacks, strict=True):
            for axes, metric in zip(line, ("c_acc", "asr"), strict=True):
                for k, name in enumerate(runs.OBJECTIVES):
                    mine = frame[(frame.attack == attack) & (frame.objectives == name) & (frame.metric == metric)]
                    colour, marker = style.COLOURS[(3, 1, 2, 4)[k]], style.MARKERS[k]
                    axes.plot(mine.epoch, mine.value, color=colour, marker=marker, linestyle=style.LINES[k], label=name)
                    if len(mine):
                        texts.append(f"{attack} {name} {metric} {mine.value.iloc[-1]:.1f}")
                axes.set(
                    ylim=(-4, 104), ylabel=f"{style.title('metric', metric)} (%)", title=style.title("attack", attack)
                )
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. Learning curves of the ablation of Table 6, one run; {len(attacks)} of 3 attacks, "
        f"{runs.N[results.scale.plans]} test images. {where(results, dataset=runs.ablation(results.scale).dataset)}",
        alt=f"Last points of the curves, in percent: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: how far shared and other adversarial examples lie from the poisoned image, in the backdoored model."""
    import seaborn as sns

    distances = results.need(runs.feature_spec(results.scale, results.seed))
    groups = {"clean": "clean image", "shared": "shared (type I)", "other": "other (II, III)"}
    frame = pd.DataFrame([{"kind": kind, "distance": v} for kind in groups for v in distances[kind]])
    with style.subplots(figsize=(style.COLUMN, 2.4)) as (figure, axes):
        looks = {
            "palette": ["#8a8a8a", "#d55e00", "#0173b2"],
            "linecolor": "#333333",
            "showfliers": False,
            "width": 0.6,
        }
        sns.boxplot(frame, x="kind", y="distance", hue="kind", order=groups, hue_order=groups, ax=axes, **looks)
        labels = [f"{title}\nn = {len(distances[kind])}" for kind, title in groups.items()]
        axes.set_xticks(range(3), labels, fontsize=7)
        axes.set(xlim=(-0.6, 2.6), xlabel="", ylabel="distance to the poisoned image")
        axes.set_ylim(bottom=0)
        axes.set_title("printed, one image: shared 38.75, not shared 80.55", fontsize=7)
        axes.grid(axis="x", visible=False)
    means = [f"{title} {np.mean(distances[kind]):.2f}" for kind, title in groups.items() if distances[kind]]
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=frame,
        caption="Figure 4. L2 distance between the features of adversarial examples and of the poisoned image, "
        f"BadNets. Printed, for one image: 38.75 (shared) and 80.55 (not shared). {where(results)}",
        alt=f"Box plots of distances in the feature space of the backdoored model. Means: {'; '.join(means)}.",
    )  # fmt: skip
