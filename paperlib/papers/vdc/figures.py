"""The VDC paper's figures, and ours."""

from typing import Any

import numpy as np
import pandas as pd

from paperlib.papers import Results
from paperlib.papers.vdc import runs
from paperlib.papers.vdc.runs import (
    ATTACKS,
    BENCHMARK,
    NOISES,
    RETRAINED,
    SCORES,
    about,
    coverage,
    data,
    engine,
    got,
    missed,
    name_of,
    rule,
)
from paperlib.papers.vdc.tables import artefact_of, wanted_sets
from paperlib.report import style
from paperlib.report.analysis_figures import bare, picture
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

BARS = (
    ("tpr", "TPR", "#0173b2", ""),
    ("fpr", "FPR", "#de8f05", "//"),
    ("auroc_logit_mean", "AUROC, mean logit", "#8a8a8a", ".."),
)


def fig2(results: Results) -> Artefact:
    """Kinds and number of questions: mean rates at the paper's threshold over triggers and noises."""
    found = got(results, "poisoned,noisy")
    frame = pd.DataFrame([{"dirt": name, **row} for _, name, _, result in found for row in result["subsets"]])
    mean = (
        frame.groupby(["general", "specific"], sort=False)[["tpr", "fpr", "auroc", "auroc_logit_mean"]]
        .mean()
        .reset_index()
    )
    one = ""
    if found[0][3]["engine"] == "embedded":
        one = " It gives one description, so that its two general questions are the same one twice."
    g, s = int(mean.general.max()), int(mean.specific.max())
    kinds = {(g, 0): "general only", (0, s): "specific only", (g, s): "both"}
    with style.subplots(1, 2, figsize=(style.PAGE, 2.5)) as (figure, (left, right)):
        said = []
        for i, (key, text) in enumerate(kinds.items()):
            row = mean[(mean.general == key[0]) & (mean.specific == key[1])].iloc[0]
            for k, (metric, label, colour, hatch) in enumerate(BARS):
                at, looks = i + 0.26 * (k - 1), {"color": colour, "hatch": hatch, "edgecolor": "white"}
                left.bar(at, row[metric], 0.24, label=label if not i else None, **looks)
                left.text(at, row[metric] + 1, f"{row[metric]:.0f}", ha="center", fontsize=6.5)
            said.append(f"{text} ({sum(key)} questions): TPR {row.tpr:.1f}, FPR {row.fpr:.1f}")
        left.set_xticks(range(3), [f"{text}\n({sum(key)})" for key, text in kinds.items()])
        left.set(ylim=(0, 118), ylabel="%", title="(a) kind of questions")
        left.legend(fontsize=6.5, ncols=3, loc="upper center", columnspacing=0.8, handlelength=1.2)
        for part, text, line, marker in (
            (mean[mean.general == 0], "specific only", "--", "o"),
            (mean[(mean.general == g) & (mean.specific > 0)], "general and specific", "-", "s"),
        ):
            x = part.general + part.specific
            right.plot(x, part.tpr, color="#0173b2", linestyle=line, marker=marker, label=f"TPR, {text}")
            right.plot(x, part.fpr, color="#de8f05", linestyle=line, marker=marker, label=f"FPR, {text}")
        right.set(xlabel="questions", ylabel="%", title="(b) number of questions", ylim=(0, 105))
        right.set_xticks(range(1, g + s + 1))
        right.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return artefact_of(
        results, "fig2", "figure", figure=figure, frame=frame,
        caption=f"Figure 2. Kind and number of questions, vote against 0.5, mean over "
        f"{coverage(found, wanted_sets(results, 'poisoned,noisy'), 'sets')}. "
        f"{data(results.scale)} Engine: {engine(found[0][3])}.{one}",
        alt=f"Mean over the sets: {'; '.join(said)}.",
    )  # fmt: skip


def fig3(results: Results) -> Artefact:
    """One picture per trigger: before, after, and the difference."""
    found = got(results, "poisoned")
    rows = []
    with style.subplots(3, len(found), figsize=(1.05 * len(found), 3.2), squeeze=False) as (figure, axes):
        for k, (_, attack, _, result) in enumerate(found):
            shown = result["triggered"]
            before, after = (picture(shown[name][0], shown["shape"]) for name in ("before", "after"))
            change = after.astype(float) - before
            for place, image in zip(
                axes[:, k], (before, after, np.clip(127.5 + 5 * change / 2, 0, 255).astype(np.uint8)), strict=True
            ):
                bare(place)
                place.imshow(image)
            axes[0, k].set_title(style.title("attack", attack), fontsize=8)
            axes[2, k].set_xlabel(f"mean change\n{np.abs(change).mean():.1f} of 255", fontsize=6.5)
            rows.append((attack, shown["true"][0], float(np.abs(change).mean()), float(np.abs(change).max())))
        for place, text in zip(axes[:, 0], ("clean", "poisoned", "difference × 2.5"), strict=True):
            place.set_ylabel(text, fontsize=7)
    frame = pd.DataFrame(rows, columns=["attack", "true_class", "mean_change", "largest_change"])
    said = ", ".join(f"{style.title('attack', a)} {m:.1f}" for a, _, m, _ in rows)
    return artefact_of(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. Poisoned pictures ({coverage(found, ATTACKS, 'triggers')}); each gets the label of class "
        f"0. {data(results.scale)}",
        alt=f"For each trigger a picture without and with it, and their difference around grey. Mean change of a pixel "
        f"value: {said}.",
    )  # fmt: skip


def roc(results: Results) -> Artefact:
    """ROC curves of the mean logit, and where the vote's threshold of 0.5 lies."""
    found = got(results, "poisoned,noisy")
    rows, said = [], []
    with style.subplots(figsize=(style.COLUMN * 1.5, 2.8)) as (figure, axes):
        for _, name, _, result in found:
            look = style.look("attack", name)
            curve = result["roc"]["logit_mean"]
            auroc = rule(result, "logit_mean", 0.5)["auroc"]
            label = f"{look.title}, AUROC {auroc:.1f}"
            axes.plot(curve["fpr"], curve["tpr"], color=look.colour, linestyle=look.line, label=label)
            vote = rule(result, "vote", 0.5)
            axes.plot(vote["fpr"], vote["tpr"], color=look.colour, marker=look.marker, linestyle="none", markersize=5)
            rows += [(name, "logit_mean", f, t) for f, t in zip(curve["fpr"], curve["tpr"], strict=True)]
            rows.append((name, "vote at 0.5", vote["fpr"], vote["tpr"]))
            said.append(f"{look.title} {auroc:.1f}")
        axes.set(xlabel="FPR, %", ylabel="TPR, %", xlim=(0, 50), ylim=(50, 101))
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return artefact_of(
        results, "roc", "figure", figure=figure, frame=pd.DataFrame(rows, columns=["dirt", "score", "fpr", "tpr"]),
        caption=f"ROC curves of the mean logit; markers: the paper's rule, vote below 0.5 "
        f"({coverage(found, wanted_sets(results, 'poisoned,noisy'), 'sets')}). "
        f"{data(results.scale)} Engine: {engine(found[0][3])}.",
        alt=f"Upper left part of the plane of FPR and TPR. AUROC of the mean logit in percent: {', '.join(said)}.",
    )  # fmt: skip


def threshold(results: Results) -> Artefact:
    """TPR and FPR over the threshold for two scores, on symmetric noise."""
    found = {name: result for _, name, _, result in got(results, "poisoned,noisy")}
    shown = [name for name in (ATTACKS[0], NOISES[0]) if name in found]
    if not shown:
        raise NotRun("neither BadNets nor symmetric noise was cleaned")
    rows, said = [], []
    with style.subplots(
        1, len(shown), figsize=(style.PAGE * len(shown) / 2 + 0.2, 2.4), sharey=True, squeeze=False
    ) as (figure, axes):
        for place, name in zip(axes[0], shown, strict=True):
            curves = found[name]["thresholds"]
            for score, line in (("vote", "-"), ("logit_mean", "--")):
                for metric, colour in (("tpr", "#0173b2"), ("fpr", "#de8f05")):
                    alphas, values = curves["alpha"], curves[score][metric]
                    label = f"{metric.upper()}, {SCORES[score]}"
                    place.plot(alphas, values, color=colour, linestyle=line, label=label)
                    rows += [(name, score, metric, a, v) for a, v in zip(alphas, values, strict=True)]
            place.axvline(0.5, color="#555555", linewidth=0.8, linestyle=":")
            place.set(xlabel="threshold", title=name_of(name), ylim=(-2, 102))
            vote = rule(found[name], "vote", 0.5)
            said.append(f"{name_of(name)} at vote 0.5: TPR {vote['tpr']:.1f}, FPR {vote['fpr']:.1f}")
        axes[0, 0].set_ylabel("%")
        axes[0, -1].legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1, 1))
    frame = pd.DataFrame(rows, columns=["dirt", "score", "metric", "threshold", "value"])
    return artefact_of(
        results, "threshold", "figure", figure=figure, frame=frame,
        caption="TPR and FPR over the threshold below which a sample is dirty; dotted: the paper's 0.5. "
        f"{data(results.scale)} Engine: {engine(found[shown[0]])}.",
        alt=f"Both rates rise with the threshold, the vote's in steps. {'; '.join(said)}.",
    )  # fmt: skip


def slipped(results: Results) -> Artefact:
    """ASR over the number of poisoned images that are left, and how many each detector leaves."""
    scale = results.scale
    wanted = runs.slipped(scale, results.seed)
    rows = [
        (r, result["n_poisoned"], result["asr"], result["c_acc"])
        for r, spec in wanted.items()
        if (result := results.get(spec))
    ]
    if not rows:
        raise NotRun(f"no classifier with few poisoned images at {scale.name} scale")
    frame = pd.DataFrame(rows, columns=["ratio", "poisoned", "asr", "c_acc"])
    left = missed(results)
    cleaned = [r for r in (results.get(runs.same_data(scale, RETRAINED, seed=results.seed)),) if r]
    with style.subplots(figsize=(style.COLUMN * 1.5, 2.7)) as (figure, axes):
        axes.plot(frame.poisoned, frame.asr, color="#333333", marker="o", label="ASR")
        axes.plot(frame.poisoned, frame.c_acc, color="#8a8a8a", marker="s", linestyle=":", label="C-Acc")
        for k, (name, count) in enumerate(sorted(left.items(), key=lambda item: item[1])):
            look = style.look("detector", name)
            looks = {"marker": look.marker, "color": look.colour, "linestyle": "none", "clip_on": False}
            axes.plot(count, -6 - 5 * (k % 3), label=f"{look.title} misses {count:,}", **looks)
        axes.set_xscale("symlog", linthresh=10)
        axes.set(
            xlabel=f"poisoned images in the training set ({style.title('attack', RETRAINED)})",
            ylabel="%",
            ylim=(-18, 103),
            xlim=(-1, frame.poisoned.max() * 1.4),
        )
        axes.set_yticks(range(0, 101, 20))
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    said = ", ".join(f"{p:,.0f}: {a:.1f}" for p, a in zip(frame.poisoned, frame.asr, strict=True))
    caught = ", ".join(f"{style.title('detector', n)} {c:,}" for n, c in left.items()) or "none was run"
    return artefact_of(
        results, "slipped", "figure", figure=figure, frame=frame,
        caption=f"How good a detector has to be: ASR and C-Acc over the number of poisoned images "
        f"({coverage(rows, wanted, 'trainings')}), and, "
        f"below, how many of the {round(BENCHMARK * (scale.n_train or 50_000)):,} each detector misses. {data(scale)} "
        f"One seed. {about(cleaned)}",
        alt=f"ASR in percent by number of poisoned images: {said}. Missed: {caught}.",
    )  # fmt: skip


def gallery(results: Results) -> Artefact:
    """What was caught, missed and wrongly suspected, and why."""
    import textwrap

    found = got(results, "poisoned,noisy,by people")
    kept: list[tuple[str, dict[str, Any]]] = []
    for group, most in {"caught": 9, "missed": 6, "false alarm": 3}.items():
        seen: set[str] = set()
        for k, (_, name, _, result) in enumerate(found):
            there = [example for example in result["examples"] if example["group"] == group]
            # the surest catch is the same picture under every trigger, and clean pictures are the same in every set
            example = there[k % len(there)] if there else None
            if example and example["picture"] not in seen and len(seen) < most:
                kept.append((name, example))
                seen.add(example["picture"])
    columns = 6
    lines = -(-len(kept) // columns)
    with style.subplots(lines, columns, figsize=(style.PAGE * 1.25, 2.1 * lines), squeeze=False) as (figure, axes):
        for place in axes.flat:
            place.set_axis_off()
        for place, (name, example) in zip(axes.flat, kept, strict=False):
            place.imshow(picture(example["picture"], example["shape"]))
            dirt = "clean" if example["kind"] == "clean" else name_of(name)
            place.set_title(textwrap.fill(f"{example['group']}: {dirt}", 24), fontsize=7)
            better = f", likelier: {example['suggested']}" if example["suggested"] else ""
            text = f"label: {example['label']}{better}\ntrue class: {example['true']}, score {example['score']:.2f}"
            reason = example["why"].split("; ")[-1] or "every answer confirmed the label"
            text += "\n" + "\n".join(textwrap.wrap(f"No to: {reason}" if example["why"] else reason, 30)[:3])
            place.text(0.5, -0.04, text, transform=place.transAxes, ha="center", va="top", fontsize=6)
    frame = pd.DataFrame(
        [{"set": name, **{k: v for k, v in e.items() if k not in ("picture", "shape")}} for name, e in kept]
    )
    counts = frame.group.value_counts()
    return artefact_of(
        results, "gallery", "figure", figure=figure, frame=frame,
        caption="What was caught, what was missed, and false alarms, the surest of each; below each picture one "
        f"question that did not confirm the label. {data(results.scale)} {about(r for *_, r in found)}",
        alt=f"{', '.join(f'{n} {group}' for group, n in counts.items())}. " + "; ".join(f"{e['group']}: a {e['true']} "
        f"labelled {e['label']} ({n})" for n, e in kept[:6]) + ".",
    )  # fmt: skip
