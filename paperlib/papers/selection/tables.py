"""Tables of the LPS paper and ours beside them. None of the paper's numbers is available to us."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from paperlib.papers import Results, captions
from paperlib.papers.selection import runs
from paperlib.papers.selection.runs import ATTACK, KNOWN_DEFENSES, PAPER, SLICES, STRATEGIES, main_budget, ratio, sized
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun

UNPUBLISHED = "not published to us"


def coverage(results: Results, count: int, dataset: str = "") -> str:
    """How many cells of the grid were run."""
    return f"{count} of {len(list(runs.cells(results.scale, results.seed, dataset)))} cells"


def drawn(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    """An item, with what the scale's slice holds among its parameters."""
    scale, part = results.scale, SLICES[results.scale.plans]
    more = {
        "width": part.width, "surrogate_width": part.surrogate, "attacks": list(part.attacks),
        "per_class": list(part.per_class), "seeds": list(runs.seeds(scale, results.seed)),
        "lps": dict(scale.changes.get("lps", {})), "fus": dict(scale.changes.get("fus", {})),
    }  # fmt: skip
    return captions.artefact(PAPER, results, id_, kind, more, **content)


def _table(
    results: Results, id_: str, rows: list[dict[str, Any]], frame: pd.DataFrame, caption: str, notes: Iterable[str]
) -> Artefact:
    html = tables.to_html(pd.DataFrame(rows), caption, notes=notes)
    return drawn(results, id_, "table", caption=caption, frame=frame, html=html)


def where(results: Results, dataset: str = "") -> str:
    """The end of a caption: data and width of the victim."""
    there = sized(results.scale, dataset)
    n = there.n_train or runs.SIZES[there.dataset]
    epochs = f" {there.epochs} epochs," if SLICES[results.scale.plans].setting[1] and not dataset else ""
    return f"{style.title('dataset', there.dataset)}, {n:,} images,{epochs} width {there.width}."


def at_main(results: Results) -> str:
    """Where the figures of one budget belong."""
    k = main_budget(results.scale)
    return (
        f"{style.title('attack', ATTACK)}, {k} images per class ({100 * ratio(sized(results.scale), k):.2g} %). "
        f"{where(results)}"
    )


# ------------------------------------------------------------------------------------------------------- drawing


def spread(values: "pd.Series[float]") -> str:
    """Mean, standard deviation and number of values; a dash where there is none."""
    deviation = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation} ({len(values)})" if len(values) else "–"


SPREAD = "Mean ± standard deviation over seeds (number of seeds)."


def by_ratio(id_: str, dataset: str = "") -> Callable[[Results], Artefact]:
    """ASR of every strategy at every ratio: mean and standard deviation over the seeds, and their number."""

    def draw(results: Results) -> Artefact:
        frame = runs.asr_frame(results, dataset)
        rows = []
        for (attack, k), group in frame.groupby(["attack", "per_class"], sort=True):
            row: dict[str, Any] = {
                "Attack": style.title("attack", attack), "Images per class": k,
                "Ratio, %": f"{100 * group.ratio.iloc[0]:.3g}",
            }  # fmt: skip
            for name in STRATEGIES:
                row[style.title("selection", name)] = spread(group[group.strategy == name].asr)
            rows.append({**row, "C-Acc": spread(group.c_acc), "Paper": UNPUBLISHED})
        caption = f"ASR (%) by strategy and poisoning ratio. {where(results, dataset)}"
        notes = [
            f"{coverage(results, len(frame), dataset)}. {SPREAD} C-Acc: of all strategies.",
            (
                "Random selection draws from all classes, as the benchmark does: about one in ten of its images is of"
                " the target class and teaches the trigger nothing new. The other strategies take none of those."
            ),
            "The paper's table has five ratios; its numbers are not available to us.",
        ]
        return _table(results, id_, rows, frame, caption, notes)

    return draw


def defenses(results: Results) -> Artefact:
    """C-Acc and ASR of every strategy's victim after each defense."""
    part, planned = SLICES[results.scale.plans], runs.defended_specs(results.scale, results.seed)
    rows = [(*names, result["c_acc"], result["asr"]) for *names, result in runs.found(results, planned)]
    if not any(defense != "none" for _, defense, *_ in rows):
        raise NotRun(f"no defended victim at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["strategy", "defense", "seed", "c_acc", "asr"])
    shown = []
    for defense in ("none", *part.defenses):
        row = {"Defense": style.title("defense", defense)}
        for name in part.defended:
            mine = frame[(frame.strategy == name) & (frame.defense == defense)]
            row[f"{style.title('selection', name)}: ASR"] = spread(mine.asr)
            row["C-Acc" if len(part.defended) == 1 else f"{style.title('selection', name)}: C-Acc"] = spread(mine.c_acc)
        shown.append({**row, "Paper": UNPUBLISHED})
    ours = [style.title("defense", name) for name in part.defenses if name not in KNOWN_DEFENSES]
    caption = f"ASR and C-Acc (%) of what was selected, after defenses. {at_main(results)}"
    notes = [
        f"{len(frame)} of {len(planned)} cells. {SPREAD}",
        (
            f"The paper has six defenses; {', '.join(style.title('defense', name) for name in KNOWN_DEFENSES)} are"
            f" among them, the other two are not known to us. {' and '.join(ours)}: our choice."
        ),
    ]
    return _table(results, "table_defenses", shown, frame, caption, notes)


def constraints(results: Results) -> Artefact:
    """LPS without its constraints, beside the draws that have the constraints and no search."""
    titles = {
        "lps": "LPS: PC and CE", "balanced": "no search: PC and CE (balanced random)",
        "random": "no search, no constraint (random)",
    }  # fmt: skip
    rows, planned = [], list(runs.constraint_specs(results.scale, results.seed))
    for name, s, spec in planned:
        if (result := results.get(spec)) is not None:
            notes = results.get(spec.selected) if spec.selected else None
            first, *others = notes["per_class"] if notes else [np.nan]
            spread_ = max(others) - min(others) if others else np.nan
            rows.append((titles.get(name, f"LPS {name}"), s, result["asr"], first, spread_))
    if not rows:
        raise NotRun(f"no victim of the ablation at {results.scale.name} scale")
    frame = pd.DataFrame(rows, columns=["mask", "seed", "asr", "of_target", "spread"])
    shown = [
        {
            "Mask": name, "ASR, %": spread(group.asr), "Images of the target class": number(group.of_target),
            "Most minus least of the other classes": number(group.spread), "Paper": UNPUBLISHED,
        }
        for name, group in frame.groupby("mask", sort=False)
    ]  # fmt: skip
    caption = f"LPS with and without its constraints. {at_main(results)}"
    said = [
        f"{len(frame)} of {len(planned)} cells. {SPREAD}",
        (
            "PC: the same number of every class; CE: none of the target class. The names are from memory. Which"
            " combinations the paper has is not known to us."
        ),
    ]
    return _table(results, "table_constraints", shown, frame, caption, said)


def number(values: "pd.Series[float]", form: str = ".1f") -> str:
    """The mean; a dash where there is no value."""
    return "–" if values.isna().all() else format(values.mean(), form)


def cost(results: Results) -> Artefact:
    """What a selection costs: epoch equivalents, trainings of the victim, seconds; and the defaults' true cost."""
    from paperlib.selection import SELECTIONS

    scale = results.scale
    frame = pd.DataFrame(
        [(name, s, k, result["epoch_equivalents"], result["seconds"]) for s, k, name, result in runs.searched(results)],
        columns=["strategy", "seed", "per_class", "epoch_equivalents", "seconds"],
    )
    if frame.empty:
        raise NotRun(f"no search at {scale.name} scale")
    epochs = sized(scale).epochs
    frame["trainings"] = frame.epoch_equivalents / epochs
    rows = []
    for name in STRATEGIES[1:]:
        found = frame[frame.strategy == name]
        if found.empty:
            continue
        config: Any = SELECTIONS.settings(name)
        default = getattr(config, "rounds", 0) * getattr(config, "epochs", 0)
        default += 2 / 3 * getattr(config, "rounds", 0) * (name == "lps")
        rows.append(
            {
                "Strategy": style.title("selection", name),
                "Epoch equivalents": f"{found.epoch_equivalents.mean():.1f}",
                f"Trainings of the victim ({epochs} epochs)": f"{found.trainings.mean():.2f}",
                "Seconds": f"{found.seconds.mean():.1f}",
                "At its default: epoch equivalents": f"{default:.0f}",
                "Trainings of 100 epochs": f"{default / 100:.2f}",
            }
        )
    part = SLICES[scale.plans]
    caption = f"Cost of a selection, mean over {len(frame)} searches. {style.title('attack', ATTACK)}. {where(results)}"
    notes = [
        (
            "One epoch equivalent is a forward and backward pass over as many images as the training set has; a forward"
            " pass alone counts a third. LPS scores every image that may be poisoned twice in each round."
        ),
        (
            f"They are epochs of the surrogate, of width {part.surrogate}; the victim has width {part.width}. Random"
            " selection costs nothing."
        ),
    ]
    return _table(results, "cost", rows, frame, caption, notes)


def passes(results: Results) -> Artefact:
    """Random selection and LPS where the victim sees each image more or less often."""
    scale = results.scale
    if not SLICES[scale.plans].settings:
        raise NotRun("a second setting of the victim is run at laptop scale only")
    planned = list(runs.setting_specs(scale, results.seed))
    rows = []
    for (n, epochs), cell in planned:
        if (result := results.get(cell.spec)) is not None:
            learned = result["log"][-1].get("loss_poisoned")
            rows.append((n, epochs, cell.per_class, cell.spec.ratio, cell.strategy, cell.seed, result["asr"], learned))
    if not rows:
        raise NotRun(f"no victim of random selection or LPS at {scale.name} scale")
    names = ["n_train", "epochs", "per_class", "ratio", "strategy", "seed", "asr", "learned"]
    frame = pd.DataFrame(rows, columns=names)
    shown = []
    for (images, passes, k), group in frame.groupby(["n_train", "epochs", "per_class"], sort=True):
        row: dict[str, Any] = {
            "Training images": f"{images:,}", "Epochs": passes, "Images per class": k,
            "Ratio, %": f"{100 * group.ratio.iloc[0]:.3g}",
        }  # fmt: skip
        for name in ("random", "lps"):
            mine = group[group.strategy == name]
            title, learned = style.title("selection", name), f"{mine.learned.mean():.2f}" if len(mine) else "–"
            row |= {f"{title}: ASR, %": spread(mine.asr), f"{title}: loss of poisoned images, last epoch": learned}
        shown.append({**row, "Paper": UNPUBLISHED})
    caption = (
        f"More images or more passes over them. {style.title('attack', ATTACK)}, width {SLICES[scale.plans].width}."
    )
    notes = [
        f"{len(frame)} of {len(planned)} victims. {SPREAD}",
        (
            "The settings take about as many steps. A loss of the poisoned images that ends above 2 is that of a victim"
            " that has not fitted what was selected."
        ),
    ]
    return _table(results, "passes", shown, frame, caption, notes)


def analysis(results: Results) -> Artefact:
    """What a choice changes: classes, distance from the draw it began with, what the surrogate knew, what the victim
    learned."""
    scale, rows = results.scale, []
    for cell in runs.own_cells(scale, results.seed):
        if (result := results.get(cell.spec)) is None:
            continue
        row = {"per_class": cell.per_class, "strategy": cell.strategy, "seed": cell.seed, "asr": result["asr"]}
        row["learned"] = result["log"][-1].get("loss_poisoned")
        notes = results.get(cell.spec.selected) if cell.spec.selected else None
        if notes:
            row["spread"] = max(notes["per_class"][1:]) - min(notes["per_class"][1:])
            if notes["overlap_first"]:
                row["replaced"] = 100 * (1 - notes["overlap_first"][-1])
            row |= {name: losses[-1] for name, losses in notes.get("loss", {}).items()}
        rows.append(row)
    if not rows:
        raise NotRun(f"no victim of {style.title('attack', ATTACK)} at {scale.name} scale")
    frame = pd.DataFrame(rows)
    columns = {
        "asr": "ASR, %", "learned": "Victim: loss of poisoned images, last epoch",
        "spread": "Most minus least of a class",
        "replaced": "Of the first draw replaced, %", "poisoned_all": "Surrogate's loss, triggered: all",
        "poisoned_chosen": "triggered: chosen",
        "clean_all": "clean: all", "clean_chosen": "clean: chosen",
    }  # fmt: skip
    frame = frame.reindex(columns=["per_class", "strategy", "seed", *columns]).astype(dict.fromkeys(columns, float))
    shown = []
    for (k, strategy), mine in sorted(frame.groupby(["per_class", "strategy"]), key=_by_strategy):
        name = str(strategy)
        row = {"Images per class": k, "Strategy": style.title("selection", name), "ASR, %": spread(mine.asr)}
        row |= {title: number(mine[key], ".3g") for key, title in columns.items() if key != "asr"}
        if SLICES[scale.plans].forgetting:
            counted = results.get(runs.forgetting_spec(scale, name, results.seed)) if k == main_budget(scale) else None
            row["Forgetting events per learned image"] = _forgotten(counted["poisoned"]) if counted else "–"
        shown.append(row)
    caption = f"What the choice changes, mean over seeds. {style.title('attack', ATTACK)}. {where(results)}"
    notes_ = [
        f"{len(frame)} of {len(list(runs.own_cells(scale, results.seed)))} victims. {_timing(frame)}",
        (
            f"A surrogate that knows nothing has a loss of {np.log(runs.CLASSES[scale.dataset]):.2f}. LPS takes what"
            " has a large loss with the trigger and a small one without; where the two losses of the triggered images"
            " are close, its surrogate has not told them apart."
        ),
        (
            f"Forgetting events: the victim of the first seed with {main_budget(scale)} images per class, trained once"
            " more."
            if SLICES[scale.plans].forgetting
            else ""
        ),
    ]
    return _table(results, "analysis", shown, frame, caption, [note for note in notes_ if note])


def _timing(frame: pd.DataFrame) -> str:
    """How far the victim's fit of the poisoned images alone, whoever chose them, explains the ASR."""
    both = frame[["asr", "learned"]].dropna()
    if len(both) < 5 or both.nunique().min() < 2:
        return ""
    rho = float(both.asr.corr(both.learned, method="spearman"))
    return f"Rank correlation of the victim's loss of its poisoned images with its ASR, over all of them: {rho:.2f}."


def _by_strategy(group: tuple[Any, pd.DataFrame]) -> tuple[int, int]:
    """By budget, then in the order of :data:`STRATEGIES`."""
    (k, name), _ = group
    return k, STRATEGIES.index(name)


def _forgotten(counted: Mapping[str, Any]) -> str:
    learned = sum(counted["events"])
    return f"{sum(i * n for i, n in enumerate(counted['events'])) / learned:.2f}" if learned else "none learned"
