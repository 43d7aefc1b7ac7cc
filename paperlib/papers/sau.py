"""The SAU paper (NeurIPS 2023, arXiv 2307.10562): figures and claims of notebook 02.

Attack setting: 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. What is run says
:mod:`paperlib.papers.sau_grid`, the tables are in :mod:`paperlib.papers.sau_tables`.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from paperlib.experiments.scales import Scale
from paperlib.experiments.specs import TrainSpec
from paperlib.metrics import der
from paperlib.papers import Item, Results
from paperlib.papers import sau_grid as grid
from paperlib.papers.benchmark.runs import attacked
from paperlib.papers.defense_table import LEARNED, defended
from paperlib.papers.sau_grid import (
    NORMS,
    OBJECTIVES,
    PAPER,
    SLICES,
    STAGES,
    WATCHED,
    Cells,
    ablation,
    curve_spec,
    curves,
    feature_spec,
    reactivation_spec,
    risk_spec,
    sampled,
    timed,
    variant,
    whole_grid,
)  # fmt: skip
from paperlib.papers.sau_tables import TABLES, draw_table1, draw_table2, draw_table6, draw_table7, draw_table8
from paperlib.papers.shared import artefact, where
from paperlib.report import reactivation, style
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, NotRun, Verdict

__all__ = ["CLAIMS", "ITEMS", "OURS", "whole_grid"]

"""Every item is there; captions say what a scale does not run."""

_artefact = partial(artefact, PAPER)


def _curve(results: Results, attack: str, objectives: str, scale: Scale | None = None) -> dict[str, Any]:
    return results.need(curve_spec(scale or ablation(results.scale), attack, objectives, results.seed))


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
    import matplotlib.pyplot as plt

    found = _curve(results, "blended", objectives, scale)
    epochs, rows = found["epoch"], []
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(style.PAGE, 2.4))
        panels[0].plot(epochs, found["c_acc"], color="#333333", marker="o", label="C-Acc")
        panels[0].set(xlabel="epoch", ylabel="C-Acc (%)", ylim=(-4, 104), title="accuracy")
        for name in risks:
            label, colour, marker, line = RISKS[name]
            panels[1].plot(epochs, found[name], color=colour, marker=marker, linestyle=line, label=label)
            rows += [{"epoch": e, "measure": name, "value": v} for e, v in zip(epochs, found[name], strict=True)]
        rows += [{"epoch": e, "measure": "c_acc", "value": v} for e, v in zip(epochs, found["c_acc"], strict=True)]
        panels[1].set(xlabel="epoch", ylabel="fraction of images", ylim=(-0.04, 1.04), title="risks")
        panels[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = "; ".join(f"{name} risk {found[name][0]:.2f} to {found[name][-1]:.2f}" for name in risks)
    return _artefact(
        results, id_, "figure", figure=figure, frame=pd.DataFrame(rows),
        caption=f"Figure {id_[3:]}. {text}, Blended, {found['n']:,} test images. {where(results, dataset=scale.dataset)}",
        alt=f"From epoch 0 to {epochs[-1]}: C-Acc {found['c_acc'][0]:.1f} to {found['c_acc'][-1]:.1f} percent; {told}.",
    )  # fmt: skip


def draw_fig1(results: Results) -> Artefact:
    """Figure 1: plain adversarial training; its backdoor risk need not follow its adversarial risk."""
    there = ablation(results.scale)
    text = "Vanilla adversarial training: accuracy, backdoor risk and adversarial risk over epochs"
    return _risk_curve(results, "fig1", "C+D", ("backdoor", "adversarial"), there, text)


def draw_fig5(results: Results) -> Artefact:
    """Figure 5: the risks over the epochs of SAU."""
    return _risk_curve(results, "fig5", "A+B", tuple(RISKS), results.scale, "Accuracy and risks over the epochs of SAU")


KIND_LOOKS = {"type I": ("#d55e00", "//"), "type II": ("#0173b2", ""), "type III": ("#de8f05", "..")}


def draw_fig2(results: Results) -> Artefact:
    """Figure 2, measured: how many adversarial examples are of which type, before, during and after SAU."""
    import matplotlib.pyplot as plt

    found = _curve(results, "blended", "A+B", results.scale)
    at, rows, texts = range(len(found["epoch"])), [], []
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(style.PAGE, 2.5), sharey=True)
        titles = {"shared": "sought as SAU does", "vanilla": "sought by plain PGD"}
        for axes, (inner, title) in zip(panels, titles.items(), strict=True):
            shares = np.array(found["types"][inner]) / found["n"]
            bottom = np.zeros(len(at))
            for (kind, (colour, hatch)), values in zip(KIND_LOOKS.items(), shares.T, strict=True):
                axes.bar(at, values, 0.8, bottom=bottom, color=colour, hatch=hatch, edgecolor="white", label=kind)
                bottom += values
                rows += [
                    {"epoch": e, "inner": inner, "kind": kind, "share": v}
                    for e, v in zip(found["epoch"], values, strict=True)
                ]
            axes.set_xticks(at, [str(epoch) for epoch in found["epoch"]])
            axes.set(xlabel="epoch of SAU", ylim=(0, 1.02), title=title)
            axes.grid(axis="x", visible=False)
            texts.append(f"{title}: type I {shares[0, 0]:.2f} before and {shares[-1, 0]:.2f} after SAU")
        panels[0].set_ylabel("share of test images")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=pd.DataFrame(rows),
        caption="Figure 2, measured where the paper has a schematic. Adversarial examples by type over the epochs of SAU, Blended, "
        f"{found['n']:,} test images. {where(results)}",
        alt=f"Stacked bars of the share of images with an adversarial example. {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig3(results: Results) -> Artefact:
    """Figure 3: C-Acc and ASR over the epochs of the four ablations."""
    import matplotlib.pyplot as plt

    there, part = ablation(results.scale), SLICES[results.scale.name]
    rows = []
    for attack in part.ablated:
        for name in OBJECTIVES:
            found = results.get(curve_spec(there, attack, name, results.seed))
            if found is None:
                continue
            for metric in ("c_acc", "asr"):
                rows += [
                    {"attack": attack, "objectives": name, "epoch": e, "metric": metric, "value": v}
                    for e, v in zip(found["epoch"], found[metric], strict=True)
                ]
    if not rows:
        raise NotRun(f"no learning curve at {results.scale.name} scale")
    frame = pd.DataFrame(rows)
    attacks, texts = list(dict.fromkeys(frame.attack)), []
    with style.context():
        size = (style.PAGE, 0.4 + 2.1 * len(attacks))
        figure, panels = plt.subplots(len(attacks), 2, figsize=size, squeeze=False, sharex=True)
        for line, attack in zip(panels, attacks, strict=True):
            for axes, metric in zip(line, ("c_acc", "asr"), strict=True):
                for k, name in enumerate(OBJECTIVES):
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
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. Learning curves of the ablation of Table 6, one run; {len(attacks)} of 3 attacks, {part.n} test images. "
        f"{where(results, dataset=there.dataset)}",
        alt=f"Last points of the curves, in percent: {'; '.join(texts)}.",
    )  # fmt: skip


def draw_fig4(results: Results) -> Artefact:
    """Figure 4: how far shared and other adversarial examples lie from the poisoned image, in the backdoored model."""
    import matplotlib.pyplot as plt

    found = results.need(feature_spec(results.scale, results.seed))
    groups = {
        "clean": ("clean image", "#8a8a8a", ""),
        "shared": ("shared (type I)", "#d55e00", "//"),
        "other": ("other (II, III)", "#0173b2", ""),
    }
    frame = pd.DataFrame([{"kind": kind, "distance": v} for kind in groups for v in found[kind]])
    with style.context():
        figure, axes = plt.subplots(figsize=(style.COLUMN, 2.4))
        for at, (kind, (_, colour, hatch)) in enumerate(groups.items()):
            if found[kind]:
                looks = {"facecolor": colour, "hatch": hatch, "alpha": 0.7, "edgecolor": "white"}
                axes.boxplot(
                    [found[kind]], positions=[at], widths=0.6, patch_artist=True, boxprops=looks, showfliers=False,
                    medianprops={"color": "black"},
                )  # fmt: skip
        labels = [f"{title}\nn = {len(found[kind])}" for kind, (title, _, _) in groups.items()]
        axes.set_xticks(range(3), labels, fontsize=7)
        axes.set(xlim=(-0.6, 2.6), ylabel="distance to the poisoned image")
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
    means = [f"{title} {np.mean(found[kind]):.2f}" for kind, (title, _, _) in groups.items() if found[kind]]
    return _artefact(
        results, "fig4", "figure", figure=figure, frame=frame,
        caption="Figure 4. L2 distance between the features of adversarial examples and of the poisoned image, BadNets. "
        f"Printed, for one image: 38.75 (shared) and 80.55 (not shared). {where(results)}",
        alt=f"Box plots of distances in the feature space of the backdoored model. Means: {'; '.join(means)}.",
    )  # fmt: skip


def draw_reactivation(results: Results) -> Artefact:
    """ASR of an optimised perturbation on the backdoored, the purified and a never attacked model."""
    specs = {name: reactivation_spec(results.scale, name, results.seed) for name in WATCHED}
    found = {name: result for name, spec in specs.items() if (result := results.get(spec)) is not None}
    if not found:
        raise NotRun(f"no re-activation at {results.scale.name} scale")
    numbers = reactivation.frame(found, (*STAGES, "clean"))
    radius = round(255 * next(iter(found.values()))["eps"])
    return _artefact(
        results, "our_reactivation", "figure", figure=reactivation.draw(numbers), frame=numbers,
        caption=f"Low ASR is not removal: one perturbation of at most {radius} grey levels for all images, optimised against each "
        f"model, alone and on top of the trigger; {len(found)} of 7 attacks. {where(results)}",
        alt=reactivation.describe(numbers),
    )  # fmt: skip


ITEMS: dict[str, Item] = {
    "table1": Item(lambda scale, seed: [risk_spec(scale, a, seed) for a in WATCHED], draw_table1),
    "table2": Item(lambda scale, seed: [], draw_table2),
    "table6": Item(curves(), draw_table6),
    "table7": Item(timed, draw_table7),
    "table8": Item(lambda scale, seed: [], draw_table8),
    "fig1": Item(lambda scale, seed: [curve_spec(ablation(scale), "blended", "C+D", seed)], draw_fig1),
    "fig2": Item(lambda scale, seed: [curve_spec(scale, "blended", "A+B", seed)], draw_fig2),
    "fig3": Item(curves(), draw_fig3),
    "fig4": Item(lambda scale, seed: [feature_spec(scale, seed)], draw_fig4),
    "fig5": Item(lambda scale, seed: [curve_spec(scale, "blended", "A+B", seed)], draw_fig5),
    **{id_: table.item(id_) for id_, table in TABLES.items()},
}

OURS: dict[str, Item] = {
    "our_reactivation": Item(
        lambda scale, seed: [reactivation_spec(scale, a, seed) for a in WATCHED], draw_reactivation
    )
}


# -------------------------------------------------------------------------------------------------------- claims


def _alive(results: Results, attacks: Iterable[str]) -> list[str]:
    """Those of ``attacks`` whose backdoor the undefended model has learned.

    Raises
    ------
    NotRun
        None of them, or a result is missing.
    """
    rates = {name: results.need(attacked(results.scale, name, seed=results.seed))["asr"] for name in attacks}
    found = [name for name, rate in rates.items() if rate >= LEARNED]
    if not found:
        raise NotRun(f"none of {', '.join(rates)} reaches an ASR of {LEARNED:g} at {results.scale.name} scale")
    return found


def _learned(results: Results) -> list[TrainSpec]:
    """Backdoored models of the main slice that have learned the backdoor."""
    names = _alive(results, SLICES[results.scale.name].attacks)
    return [attacked(results.scale, name, seed=results.seed) for name in names]


def _names(parents: Iterable[TrainSpec]) -> str:
    return ", ".join(style.title("attack", parent.attack) for parent in parents)


def check_best(results: Results) -> Verdict:
    """SAU has the highest mean DER and mean R-Acc of all defenses that were run."""
    parents = _learned(results)
    numbers: dict[str, float] = {}
    for defense in SLICES[results.scale.name].defenses:
        pairs = [(results.need(p), results.need(defended(results.scale, p, defense))) for p in parents]
        ders = [der(b["c_acc"], b["asr"], a["c_acc"], a["asr"], unit="percent") for b, a in pairs]
        numbers[f"{style.title('defense', defense)} DER"] = float(np.mean(np.array(ders)))
        numbers[f"{style.title('defense', defense)} R-Acc"] = float(np.mean([a["r_acc"] for _, a in pairs]))
    best = all(
        numbers[f"SAU {metric}"] >= max(v for name, v in numbers.items() if name.endswith(metric))
        for metric in ("DER", "R-Acc")
    )
    return Verdict(best, f"means over {_names(parents)} (undefended ASR at least {LEARNED:g})", numbers)


def check_low(results: Results) -> Verdict:
    """After SAU every attack's ASR is at most a tenth of the undefended one."""
    parents, low = _learned(results), True
    numbers: dict[str, float] = {}
    for parent in parents:
        before = results.need(parent)["asr"]
        after = results.need(defended(results.scale, parent, "sau"))["asr"]
        numbers[f"{style.title('attack', parent.attack)} ASR after SAU"] = after
        low = low and after <= before / 10
    return Verdict(low, "at most a tenth of the undefended ASR, for every learned attack", numbers)


def check_bound(results: Results) -> Verdict:
    """R_bd <= R_sub <= R_adv at every epoch of SAU."""
    found = _curve(results, "blended", "A+B", results.scale)
    chains = list(zip(found["backdoor"], found["sub"], found["adversarial"], strict=True))
    holds = all(a <= b + 1e-9 and b <= c + 1e-9 for a, b, c in chains)
    numbers = {
        "largest R_bd - R_sub": max(a - b for a, b, _ in chains),
        "largest R_sub - R_adv": max(b - c for _, b, c in chains),
        "epochs": float(len(chains)),
    }
    return Verdict(holds, "Blended; the maxima over S are estimated from below, which can only hurt the claim", numbers)


def check_shared(results: Results) -> Verdict:
    """SAU removes shared adversarial examples: at least half of those that the backdoored model has."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in _alive(results, WATCHED):
        found = results.need(risk_spec(results.scale, attack, results.seed))
        before, after = found["types"]["shared"][0][0], found["types"]["shared"][STAGES.index("sau")][0]
        numbers |= {
            f"{style.title('attack', attack)} before": before,
            f"{style.title('attack', attack)} after SAU": after,
        }
        holds = holds and after <= before / 2
    return Verdict(holds, "number of examples of type I that SAU's own search finds; at most half", numbers)


def check_ablation(results: Results) -> Verdict:
    """The inner problem (A) lowers the ASR, the outer one (B) keeps the accuracy."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in SLICES[results.scale.name].ablated:
        last = {name: _curve(results, attack, name) for name in OBJECTIVES}
        title = style.title("attack", attack)
        numbers |= {f"{title} {name} ASR": last[name]["asr"][-1] for name in ("A+B", "C+B")}
        numbers |= {f"{title} {name} C-Acc": last[name]["c_acc"][-1] for name in ("A+B", "A+D")}
        holds = holds and last["A+B"]["asr"][-1] < last["C+B"]["asr"][-1]
        holds = holds and last["A+B"]["c_acc"][-1] > last["A+D"]["c_acc"][-1]
    return Verdict(holds, "A+B against C+B in ASR, and against A+D in C-Acc, at the last epoch", numbers)


def check_few(results: Results) -> Verdict:
    """With fewer clean images the accuracy falls, and the ASR stays low down to 50."""
    numbers: dict[str, float] = {}
    holds = True
    part = SLICES[results.scale.name]
    kept = [n for n in part.samples if n >= 50] if results.scale.name != "smoke" else list(part.samples)
    for attack in _alive(results, part.sampled):
        parent = attacked(results.scale, attack, seed=results.seed)
        before = results.need(parent)["asr"]
        title = style.title("attack", attack)
        runs = {n: results.need(sampled(results.scale, parent, "sau", n)) for n in (kept[0], kept[-1])}
        for n, found in runs.items():
            numbers |= {f"{title} C-Acc with {n}": found["c_acc"], f"{title} ASR with {n}": found["asr"]}
            holds = holds and found["asr"] <= before / 5
        holds = holds and runs[kept[-1]]["c_acc"] < runs[kept[0]]["c_acc"]
    return Verdict(holds, "ASR at most a fifth of the undefended one with the most and the fewest images", numbers)


def check_near(results: Results) -> Verdict:
    """Shared adversarial examples lie nearer to the poisoned image than the others."""
    _alive(results, ("badnets",))
    found = results.need(feature_spec(results.scale, results.seed))
    if not found["shared"] or not found["other"]:
        raise NotRun(f"at {results.scale.name} scale the search found no example of one of the two kinds")
    numbers = {f"mean distance, {kind}": float(np.mean(found[kind])) for kind in ("shared", "other", "clean")}
    holds = numbers["mean distance, shared"] < numbers["mean distance, other"]
    return Verdict(holds, "BadNets, in the features of the backdoored model", numbers)


def check_ensemble(results: Results) -> Verdict:
    """Ensemble SAU has the lowest ASR of the three perturbation sets, at a small cost in accuracy."""
    numbers: dict[str, float] = {}
    holds = True
    for attack in _alive(results, SLICES[results.scale.name].normed):
        parent = attacked(results.scale, attack, seed=results.seed)
        found = {name: results.need(variant(results.scale, parent, name)) for name in NORMS}
        for name, one in found.items():
            title = f"{style.title('attack', attack)} {style.title('defense', name)}"
            numbers |= {f"{title} ASR": one["asr"], f"{title} C-Acc": one["c_acc"]}
        holds = holds and found["sau_ensemble"]["asr"] <= min(found["sau"]["asr"], found["sau_spatial"]["asr"])
        holds = holds and found["sau_ensemble"]["c_acc"] >= found["sau"]["c_acc"] - 3.5
    return Verdict(holds, "lowest ASR, and at most 3.5 points of C-Acc (the largest printed cost) below SAU", numbers)


def _rates(results: Results, cells: Cells) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]]:
    """(attack, setting) -> results before and after SAU, of the cells whose backdoor was learned.

    Raises
    ------
    NotRun
        Fewer than two cells are planned at this scale, a result is missing, or no backdoor was learned.
    """
    planned = [cell for cell in cells(results.scale, results.seed) if cell[1] == "sau"]
    if len(planned) < 2:
        raise NotRun(f"nothing to compare is run at {results.scale.name} scale")
    found = {}
    for parent, _, setting, spec in planned:
        before, after = results.need(parent), results.need(spec)
        if before["asr"] >= LEARNED:
            found[style.title("attack", parent.attack), style.title("setting", setting)] = before, after
    if not found:
        raise NotRun(f"no backdoor was learned at {results.scale.name} scale")
    return found


def check_tiny(results: Results) -> Verdict:
    """Tiny ImageNet: WaNet stays above half of its ASR, the others fall to at most a tenth."""
    found = _rates(results, grid.of_table("table4"))
    kept = {attack: after["asr"] / before["asr"] for (attack, _), (before, after) in found.items()}
    if "WaNet" not in kept:
        raise NotRun("WaNet was not learned")
    numbers = {f"{attack} ASR after SAU": after["asr"] for (attack, _), (_, after) in found.items()}
    holds = kept.pop("WaNet") > 0.5 and max(kept.values(), default=0.0) <= 0.1
    return Verdict(holds, "WaNet above half of its ASR, whose trigger leaves S; all others at most a tenth", numbers)


def check_pixel(results: Results) -> Verdict:
    """BadNets falls to at most a tenth of its ASR at every pixel value."""
    found = _rates(results, grid.pixel_cells)
    numbers = {f"{setting} ASR after SAU": after["asr"] for (_, setting), (_, after) in found.items()}
    holds = all(after["asr"] <= before["asr"] / 10 for before, after in found.values())
    return Verdict(holds, "at most a tenth of the undefended ASR, at every pixel value that was learned", numbers)


def check_adaptive(results: Results) -> Verdict:
    """The ASR of an attacker who trains adversarially falls to at most a tenth, C-Acc by at most two points."""
    numbers: dict[str, float] = {}
    holds = True
    for (attack, _), (before, after) in _rates(results, grid.adaptive_cells).items():
        change = after["c_acc"] - before["c_acc"]
        numbers |= {f"{attack} ASR after SAU": after["asr"], f"{attack} change of C-Acc": change}
        holds = holds and after["asr"] <= before["asr"] / 10 and change >= -2
    return Verdict(holds, "at most a tenth of the undefended ASR, at most two points of C-Acc below it", numbers)


def check_two(results: Results) -> Verdict:
    """Both triggers of one training set fall to at most a tenth of their ASR."""
    numbers: dict[str, float] = {}
    holds = True
    for (attack, _), (before, after) in _rates(results, grid.two_cells).items():
        numbers |= {f"{attack} ASR-1 after SAU": after["asr"], f"{attack} ASR-2 after SAU": after["asr_2"]}
        holds = holds and after["asr"] <= before["asr"] / 10 and after["asr_2"] <= before["asr_2"] / 10
    return Verdict(holds, "at most a tenth of the undefended ASR, for both triggers", numbers)


def check_configurations(results: Results) -> Verdict:
    """The mean DERs of the default and of our other configurations lie within two points."""
    ders: dict[str, list[float]] = {}
    for (_, setting), (b, a) in _rates(results, grid.configuration_cells).items():
        ders.setdefault(setting, []).append(float(der(b["c_acc"], b["asr"], a["c_acc"], a["asr"], unit="percent")))
    numbers = {f"DER of {setting}": float(np.mean(values)) for setting, values in ders.items()}
    spread = max(numbers.values()) - min(numbers.values())
    return Verdict(spread <= 2, "mean DERs within 2 points (0.4 in print); all but the first are ours", numbers)


def check_rnp(results: Results) -> Verdict:
    """SAU has the higher mean DER."""
    planned = grid.rnp_cells(results.scale, results.seed)
    if not planned:
        raise NotRun(f"RNP is not run at {results.scale.name} scale")
    values: dict[str, list[float]] = {"rnp": [], "sau": []}
    for parent, defense, _, spec in planned:
        before, after = results.need(parent), results.need(spec)
        if defense != "none" and before["asr"] >= LEARNED:
            found = der(before["c_acc"], before["asr"], after["c_acc"], after["asr"], unit="percent")
            values[defense].append(float(found))
    if not values["sau"]:
        raise NotRun(f"no backdoor was learned at {results.scale.name} scale")
    numbers = {f"mean DER of {style.title('defense', name)}": float(np.mean(ders)) for name, ders in values.items()}
    return Verdict(
        numbers["mean DER of SAU"] > numbers["mean DER of RNP"], f"means over {len(values['sau'])} models", numbers
    )


CLAIMS: list[Claim] = [
    Claim("best", PAPER, "SAU has the best average DER and R-Acc.", "Table 3", check_best),
    Claim("low", PAPER, "SAU lowers the ASR of every attack to a few percent.", "Table 3", check_low),
    Claim("bound", PAPER, "Backdoor risk <= sub-adversarial risk <= adversarial risk.", "Proposition 3", check_bound),
    Claim("shared", PAPER, "SAU unlearns shared adversarial examples.", "Table 1, Figure 2", check_shared),
    Claim("near", PAPER, "Shared adversarial examples lie nearer to the poisoned image.", "Figure 4", check_near),
    Claim(
        "ablation", PAPER, "The inner problem lowers the ASR, the outer keeps the accuracy.", "Table 6", check_ablation
    ),
    Claim("few", PAPER, "The ASR stays low down to 50 clean images; the accuracy falls.", "Table 23", check_few),
    Claim("ensemble", PAPER, "An ensemble of perturbation sets lowers the ASR further.", "Table 13", check_ensemble),
    Claim("tiny", PAPER, "On Tiny ImageNet SAU fails on WaNet only, whose trigger leaves S.", "Table 4", check_tiny),
    Claim("pixel", PAPER, "SAU removes BadNets whatever the pixel value of its square.", "Table 12", check_pixel),
    Claim(
        "adaptive", PAPER, "SAU works on models of an attacker who trained adversarially.", "Table 15", check_adaptive
    ),
    Claim("configurations", PAPER, "SAU depends little on its configuration.", "Table 22", check_configurations),
    Claim("two", PAPER, "SAU removes both of two triggers with different targets.", "Table 24", check_two),
    Claim("rnp", PAPER, "SAU beats RNP on average.", "Table 27", check_rnp),
]
