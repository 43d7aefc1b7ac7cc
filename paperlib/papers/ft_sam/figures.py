"""The figures of the FT-SAM paper."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib.metrics import der
from paperlib.papers import Results
from paperlib.papers.captions import artefact, where
from paperlib.papers.defense_table import backdoored
from paperlib.papers.figures import after, found, grad_cam, metric_lines
from paperlib.papers.ft_sam import runs
from paperlib.papers.ft_sam.runs import PAPER, PRINTED_ATTACKS, RHOS, STAGES
from paperlib.report import style
from paperlib.report.analysis_figures import scatter
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

_artefact = partial(artefact, PAPER)


def correlation(a: Any, b: Any) -> float:
    """Spearman's rank correlation."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def _title(attack: str) -> str:
    return style.title("attack", attack)


def _count(attacks: Any) -> str:
    return f"{len(attacks)} of {len(PRINTED_ATTACKS)} attacks"


def _embedding(axes: Any, result: dict[str, Any], k: int) -> None:
    scatter(axes, result["xy"][k], result["y"], result["poisoned"])
    axes.set_title(f"t-SNE, {after(STAGES[k])}")


def _embedding_frame(result: dict[str, Any], stages: Iterable[int]) -> pd.DataFrame:
    def of(k: int) -> pd.DataFrame:
        x, y = np.array(result["xy"][k]).T
        frame = pd.DataFrame({"panel": "t-SNE", "model": STAGES[k], "x": x, "y": y})
        return frame.assign(label=result["y"], poisoned=result["poisoned"])

    return pd.concat(of(k) for k in stages)


def _histogram(axes: Any, norms: Mapping[str, list[float]]) -> None:
    """Histograms and density curves of the neurons' norms of several models, on common bins."""
    from scipy.stats import gaussian_kde

    everything = np.concatenate([np.array(v) for v in norms.values()])
    bins = np.linspace(everything.min(), everything.max(), 25)
    grid = np.linspace(bins[0], bins[-1], 200)
    for name, values in norms.items():
        look = style.look("defense", name)
        axes.hist(values, bins, density=True, color=look.colour, alpha=0.25)
        axes.plot(grid, gaussian_kde(values)(grid), color=look.colour, linestyle=look.line, label=after(name))
    axes.set(xlabel="weight norm of a neuron", ylabel="density")


def _norm_frame(attack: str, norms: Mapping[str, list[float]]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"panel": "norms", "attack": attack, "model": name, "neuron": range(len(v)), "norm": v})
        for name, v in norms.items()
    )


def _tac_frame(attack: str, result: dict[str, Any], k: int) -> pd.DataFrame:
    tac, norm = result["tac"][k], result["norm"][k]
    frame = pd.DataFrame({"panel": "TAC against norm", "attack": attack, "model": STAGES[k], "neuron": range(len(tac))})
    return frame.assign(tac=tac, norm=norm)


def _tac_scatter(axes: Any, result: dict[str, Any], k: int, look: style.Look, **options: Any) -> str:
    axes.scatter(result["tac"][k], result["norm"][k], color=look.colour, marker=look.marker, **options)
    return f"rank corr. {correlation(result['tac'][k], result['norm'][k]):.2f}"


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: what FT leaves in place, in feature space and in the weights (Blended, 10 %)."""
    embedding = results.need(runs.tsne_spec(results.scale, results.seed))
    neurons = results.need(runs.neuron_spec(results.scale, "blended", 0.1, results.seed))
    norms = dict(zip(STAGES[:2], neurons["norm"], strict=False))
    with style.subplots(1, 3, figsize=(style.PAGE, 2.2)) as (figure, axes):
        _embedding(axes[0], embedding, 0)
        _embedding(axes[1], embedding, 1)
        axes[1].legend(loc="lower right", fontsize=6.5)
        _histogram(axes[2], norms)
        axes[2].set_title("weight norms of the last conv")
        axes[2].legend(fontsize=6.5)
    shift = np.mean(norms["ft"]) / np.mean(norms["none"]) - 1
    return _artefact(
        results, "fig1", "figure", figure=figure,
        frame=pd.concat([_embedding_frame(embedding, (0, 1)), _norm_frame("blended", norms)]),
        caption=f"Figure 1. A backdoored model before and after FT (Blended). {where(results)}",
        alt="Two t-SNE maps of image features, coloured by class with poisoned images as black crosses, before and "
        "after fine-tuning, and the distribution of the neurons' weight norms of both models: FT changes the mean norm "
        f"by {shift:+.1%}.",
    )  # fmt: skip


def draw_fig2(results: Results) -> Artefact:
    """Figure 2: FT against FT-SAM in feature space and in the norms; TAC against norm in two backdoored models."""
    embedding = results.need(runs.tsne_spec(results.scale, results.seed))
    blended, badnets = (
        results.need(runs.neuron_spec(results.scale, name, 0.1, results.seed)) for name in ("blended", "badnets")
    )
    order = np.argsort(blended["norm"][0])[::-1]
    norms = [np.array(values)[order] for values in blended["norm"]]
    frames = [_embedding_frame(embedding, (1, 2))]
    with style.subplots(2, 3, figsize=(style.PAGE, 4.2)) as (figure, axes):
        for row, k in enumerate((1, 2)):
            _embedding(axes[row, 0], embedding, k)
            change = norms[k] - norms[0]
            axes[row, 1].bar(range(len(order)), change, width=1.0, color=style.look("defense", STAGES[k]).colour)
            axes[row, 1].set(
                xlabel="neurons, largest norm first", ylabel="change of norm", title=f"{after(STAGES[k])}, Blended"
            )
            frames.append(
                pd.DataFrame({"panel": "change of norm", "model": STAGES[k], "neuron": order, "change": change})
            )
        lowest, highest = zip(*(one.get_ylim() for one in axes[:, 1]), strict=True)
        for row, (name, result) in enumerate((("blended", blended), ("badnets", badnets))):
            axes[row, 1].set_ylim(min(lowest), max(highest))
            text = _tac_scatter(axes[row, 2], result, 0, style.look("attack", name), s=8, alpha=0.7)
            axes[row, 2].set(xlabel="TAC", ylabel="weight norm", title=f"{_title(name)}: {text}")
            frames.append(_tac_frame(name, result, 0))
    changes = [float(np.mean(blended["norm"][k]) / np.mean(blended["norm"][0]) - 1) for k in (1, 2)]
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=pd.concat(frames),
        caption="Figure 2. FT (top) and FT-SAM (bottom) on the Blended model: features, change of the neurons' norms; "
        f"and TAC against norm in two backdoored models. {where(results)}",
        alt=f"FT changes the mean weight norm of the neurons by {changes[0]:+.1%}, FT-SAM by {changes[1]:+.1%}. In "
        f"both backdoored "
        "models the scatter of trigger-activated change against norm is shown with its rank correlation.",
    )  # fmt: skip


def sweep(results: Results) -> dict[str, dict[int, dict[str, Any]]]:
    """Figure 3: attack -> radius -> result, of those that there are.

    Raises
    ------
    NotRun
        There is none.
    """
    out: dict[str, dict[int, dict[str, Any]]] = {}
    for attack, rho, spec in runs.sweep(results.scale, results.seed):
        if (result := results.get(spec)) is not None:
            out.setdefault(attack, {})[rho] = result
    if not out:
        raise NotRun(f"no result of the rho sweep at {results.scale.name} scale")
    return out


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc, ASR and DER against rho."""
    swept, rows = sweep(results), []
    for attack, points in swept.items():
        before = results.need(backdoored(results.scale, attack, seed=results.seed))
        for rho, result in points.items():
            score = der(before["c_acc"], before["asr"], result["c_acc"], result["asr"], unit="percent")
            values = {"C-Acc": result["c_acc"], "ASR": result["asr"], "DER": score}
            rows += [{"attack": attack, "rho": rho, "metric": m, "value": value} for m, value in values.items()]
    frame = pd.DataFrame(rows)
    ends = {
        _title(attack): [(rho, points[rho]["asr"]) for rho in (min(points), max(points))]
        for attack, points in swept.items()
    }
    text = "; ".join(
        f"{name}: ASR " + ", ".join(f"{asr:.1f} at rho {rho}" for rho, asr in two) for name, two in ends.items()
    )
    return _artefact(
        results, "fig3", "figure", figure=metric_lines(frame, "rho", xlabel="ρ", xticks=RHOS), frame=frame,
        caption=f"Figure 3. FT-SAM against the perturbation budget ρ; {len(swept)} of 4 attacks. {where(results)}",
        alt=f"One panel per attack with accuracy, attack success rate and DER over rho from 1 to 8. {text}.",
    )  # fmt: skip


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: TAC against norm, backdoored, after FT and after FT-SAM, 5 % poisoning."""
    there = found(results, runs.neuron_specs(results.scale, results.seed), "neuron analysis")
    frames, texts = [], []
    size = (style.PAGE, 1.5 * len(there))
    with style.subplots(len(there), 3, figsize=size, sharex="row", sharey="row", squeeze=False) as (figure, panels):
        for row, (name, result) in zip(panels, there.items(), strict=True):
            for k, axes in enumerate(row):
                text = _tac_scatter(axes, result, k, style.look("defense", STAGES[k]), s=6, alpha=0.6)
                axes.text(0.97, 0.05, text, transform=axes.transAxes, ha="right", fontsize=6.5)
                frames.append(_tac_frame(name, result, k))
            row[0].set_ylabel(f"{_title(name)}\nweight norm")
            texts.append(f"{_title(name)} {', '.join(f'{max(norm):.2f}' for norm in result['norm'])}")
        for k, stage in enumerate(STAGES):
            panels[0, k].set_title(after(stage))
            panels[-1, k].set_xlabel("TAC")
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 4. TAC against weight norm of the neurons; {_count(there)}. {where(results, 0.05)}",
        alt="A grid of scatter plots, one row per attack and one column per model. Largest norm in the backdoored "
        f"model, after FT and after FT-SAM: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig5(results: Results) -> Artefact:
    """Figure 5: distributions of the neurons' norms in the three models, 5 % poisoning."""
    there = found(results, runs.neuron_specs(results.scale, results.seed), "neuron analysis")
    frames, texts = [], []
    columns = min(len(there), 4)
    lines = -(-len(there) // columns)
    with style.subplots(lines, columns, figsize=(style.PAGE, 2.0 * lines), squeeze=False) as (figure, panels):
        for axes in panels.flat[len(there) :]:
            axes.set_visible(False)
        for axes, (name, result) in zip(panels.flat, there.items(), strict=False):
            norms = dict(zip(STAGES, result["norm"], strict=True))
            _histogram(axes, norms)
            axes.set(title=_title(name), ylabel="density" if axes in panels[:, 0] else "")
            frames.append(_norm_frame(name, norms))
            texts.append(f"{_title(name)} {', '.join(f'{np.mean(values):.3f}' for values in norms.values())}")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _artefact(
        results, "fig5", "figure", figure=figure, frame=pd.concat(frames),
        caption=f"Figure 5. Weight norms of the neurons of the last convolution; {_count(there)}. "
        f"{where(results, 0.05)}",
        alt="One panel per attack with the norm distributions of the backdoored model, after FT and after FT-SAM. Mean "
        f"norms in this order: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig6(results: Results) -> Artefact:
    """Figure 6: what one step of FT and of FT-SAM sees in each neuron."""
    import matplotlib.pyplot as plt

    there = found(results, runs.geometry_specs(results.scale, results.seed), "first step")
    if "blended" not in there:
        raise NotRun(f"the first step on Blended has no result at {results.scale.name} scale")
    blended = there["blended"]
    neurons = results.need(runs.neuron_spec(results.scale, "blended", 0.1, results.seed))
    norm, order = np.array(neurons["norm"][0]), np.argsort(neurons["tac"][0])
    frames = []

    def keep(panel: str, attack: str, x: Any, y: Any) -> None:
        frames.append(pd.DataFrame({"panel": panel, "attack": attack, "x": x, "y": y}))

    with style.context():
        figure, panels = plt.subplot_mosaic("aabbcc;dddeee", figsize=(style.PAGE, 4.2))
        for name, key, stage in (("a", "gradient_ft", "ft"), ("b", "gradient_ft_sam", "ft_sam")):
            values, look = np.array(blended[key])[order], style.look("defense", stage)
            panels[name].bar(range(len(order)), values, width=1.0, color=look.colour)
            panels[name].set(xlabel="neurons, largest TAC last", title=f"({name}) {look.title}")
            keep(name, "blended", range(len(order)), values)
        panels["a"].set_ylabel("gradient norm")
        for name, result in there.items():
            panels["c"].plot(RHOS, result["mean_gradient"], **style.look("attack", name).plot())
            keep("c", name, RHOS, result["mean_gradient"])
        panels["c"].set(xlabel="ρ", ylabel="mean gradient norm", title="(c) gradient norm over ρ", xticks=RHOS)
        panels["c"].legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
        for name, key, label in (("d", "epsilon_sam", "SAM"), ("e", "epsilon_asam", "adaptive SAM")):
            panels[name].scatter(norm, blended[key], s=6, color=style.look("defense", "ft_sam").colour, alpha=0.6)
            panels[name].set(xlabel="weight norm", ylabel="perturbation norm", title=f"({name}) {label}")
            keep(name, "blended", norm, blended[key])
    correlations = [correlation(norm, blended[key]) for key in ("epsilon_sam", "epsilon_asam")]
    means = [float(np.mean(blended[key])) for key in ("gradient_ft", "gradient_ft_sam")]
    return _artefact(
        results, "fig6", "figure", figure=figure, frame=pd.concat(frames),
        caption="Figure 6. First step on the first batch of the Blended model: gradient norms of the neurons under FT "
        f"(a) and FT-SAM (b), over ρ for {_count(there)} (c), and norms of the perturbation of SAM (d) and adaptive "
        f"SAM (e). {where(results)}",
        alt=f"The mean gradient norm of a neuron is {means[0]:.2g} under FT and {means[1]:.2g} under FT-SAM. The rank "
        f"correlation of weight norm and perturbation norm is {correlations[0]:.2f} for SAM and {correlations[1]:.2f} "
        "for adaptive SAM.",
    )  # fmt: skip


def draw_fig7(results: Results) -> Artefact:
    """Figure 7: Grad-CAM of one image, clean and triggered, before and after FT-SAM, 5 % poisoning."""
    there = found(results, runs.gradcam_specs(results.scale, results.seed), "Grad-CAM")
    figure, frame, text = grad_cam(there, ("none", "ft_sam"), results.scale.dataset)
    return _artefact(
        results, "fig7", "figure", figure=figure, frame=frame, alt=text,
        caption=f"Figure 7. Grad-CAM of one test image for the predicted class; {_count(there)}. {text} "
        f"{where(results, 0.05)}",
    )  # fmt: skip
