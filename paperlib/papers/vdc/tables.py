"""The VDC paper's tables, and how results are read for tables, figures and claims alike."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from paperlib.experiments.specs import DetectSpec
from paperlib.lab.spec import Spec
from paperlib.papers import Results, captions
from paperlib.papers.vdc import runs
from paperlib.papers.vdc.runs import (
    ATTACKS,
    BENCHMARK,
    ETA,
    LOW,
    NOISE,
    NOISES,
    PAPER,
    RETRAINED,
    SCORES,
    about,
    coverage,
    data,
    detected,
    dirt_title,
    engine,
    fair_frame,
    got,
    name_of,
    number,
    rule,
)
from paperlib.report import compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published

UNPUBLISHED = "not published to us"
SAME = "vdc, same data"
"""VDC's row on exactly the training sets into which its baselines look."""
CALLS = {"CIFAR-10": 50_000 * 6, "ImageNet-100": 50_000 * 8, "ImageNet-Dog": 8_000 * 6}
"""Questions to the multimodal model that the paper's sets need: images times questions."""


def artefact_of(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    more = {"engine": runs.ENGINE[results.scale.plans]}
    return captions.artefact(PAPER, results, id_, kind, more, **content)


# ------------------------------------------------------------------------------------ Tables 1 and 3: beside the print


def _row(dataset: str, ratio: float, dirt: str, method: str, result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for metric in ("tpr", "fpr"):
        yield {
            "dataset": dataset, "model": "", "ratio": ratio, "attack": dirt, "defense": method, "metric": metric,
            "value": result[metric], "n_seeds": 1,
        }  # fmt: skip


def _average(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the paper's six triggers, of the methods that have all of them."""
    frame = pd.DataFrame(rows)
    out = []
    for _, group in frame.groupby(["defense", "metric"], sort=False) if len(frame) else ():
        if set(ATTACKS) <= set(group.attack):
            first: dict[str, Any] = {str(name): value for name, value in group.iloc[0].items()}
            out.append({**first, "attack": "average", "value": group.value.mean()})
    return out


def _beside(results: Results, rows: list[dict[str, Any]], item: str) -> pd.DataFrame:
    """Our rows beside the printed ones; at small scales the data set and the benchmark's ratio stand in for the
    paper's, and :data:`paperlib.papers.vdc.runs.PHOTOS` for its photographs."""
    scale = results.scale
    imagenet, share = runs.IMAGENET.get(item, ("imagenet100", ETA))
    printed = published(PAPER, item).assign(setting="")
    columns = ["dataset", "model", "ratio", "attack", "defense", "metric", "value", "n_seeds"]
    stand_ins: dict[str, dict[Any, Any]] | None = None
    if scale.plans != "paper":
        stand_ins = {**(captions.stand_ins(scale) or {}), "ratio": {BENCHMARK: share}}
        if scale.plans in runs.PHOTOS:
            stand_ins["dataset"] = {**stand_ins.get("dataset", {}), runs.PHOTOS[scale.plans]: imagenet}
    tolerances = {
        metric: compare.Tolerance(2.0, "ours: no repetition of these cells is known") for metric in ("TPR", "FPR")
    }
    frame = compare.compare(
        pd.DataFrame(rows, columns=columns), printed, scale=scale.name, stand_ins=stand_ins, tolerances=tolerances
    )
    order = {name: i for i, name in enumerate(dict.fromkeys([*printed.defense, "vdc", SAME]))}
    return frame.sort_values("defense", key=lambda names: names.map(order), kind="stable")


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Methods by the names that the paper prints."""
    titles = {SAME: "VDC, baselines' data"}
    return frame.assign(defense=[titles.get(name) or style.title("detector", name) for name in frame.defense])


def _shares(results: Results, found: Iterable[tuple[str, str, DetectSpec, dict[str, Any]]]) -> str:
    """What every method saw beforehand, ours and the paper's."""
    printed = published(PAPER, "table1").drop_duplicates("defense").set_index("defense").setting.to_dict()
    printed |= published(PAPER, "table_noisy_labels").drop_duplicates("defense").set_index("defense").setting.to_dict()
    n = results.scale.n_train or 50_000
    parts = []
    for name, spec in {name: spec for _, name, spec, _ in found}.items():
        from paperlib.detection import CLEAN, DETECTORS, MODEL_AND_CLEAN

        ours = 100 * spec.n_clean / n if DETECTORS[name].access in (CLEAN, MODEL_AND_CLEAN) else 0.0
        parts.append(
            f"{style.title('detector', name)} {ours:g} %"
            f" ({printed[name].removeprefix('clean_data=').replace('%', ' %')})"
        )
    return f"Clean images given to a method, ours (the paper's): {', '.join(parts)}." if parts else ""


def _printed(
    results: Results, id_: str, caption: str, rows: list[dict[str, Any]], count: str, notes: Iterable[str] = ()
) -> Artefact:
    """A table with every printed value, ours beside it; the data set that is ours first."""
    frame = _beside(results, rows, id_).sort_values("dataset", key=lambda names: names != "cifar10", kind="stable")
    lines = ("dataset", "defense") if frame.dataset.nunique() > 1 else ("defense",)
    html = tables.paper_table(
        _shown(frame), caption, rows=lines, columns="attack", everything=True, coverage=count, notes=notes
    )
    return artefact_of(results, id_, "table", caption=caption, frame=frame, html=html)


def photo_table(id_: str, title: str) -> Callable[[Results], Artefact]:
    """Draws a table of poisoned-sample detection whose data set, made from ImageNet, is not among ours: beside the
    printed numbers those on :data:`paperlib.papers.vdc.runs.PHOTOS`."""

    def draw(results: Results) -> Artefact:
        found = _on_photos(results, id_)
        if not found:
            caption = f"{title} Printed numbers only: the data set is made from ImageNet and is not among ours."
            return _printed(results, id_, caption, [], "nothing run")
        rows = [row for ratio, dirt, name, result in found for row in _photo_row(results, ratio, dirt, name, result)]
        cleaned = {dirt: result for _, dirt, name, result in found if name == "vdc"}
        judged = {dirt for _, dirt, name, _ in found if name != "vdc"}
        count = coverage(cleaned, ATTACKS, "triggers for VDC")
        if id_ == "table2":
            count += f", {coverage(judged, ATTACKS, 'for its baselines')}"
        caption = f"{title} {_instead(results)} {about(cleaned.values())}"
        return _printed(results, id_, caption, rows + _average(rows), count)

    return draw


def _on_photos(results: Results, id_: str) -> list[tuple[float, str, str, dict[str, Any]]]:
    """Ratio, dirt, method and result of what was run on photographs."""
    share = runs.IMAGENET.get(id_, ("", NOISE))[1]
    return [
        (share if name == "vdc" or id_ not in runs.IMAGENET else BENCHMARK, dirt, name, result)
        for dirt, name, spec in runs.of_photos(results.scale, id_, results.seed)
        if (result := results.get(spec)) is not None
    ]


def _photo_row(
    results: Results, ratio: float, dirt: str, name: str, result: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    return _row(runs.PHOTOS[results.scale.plans], ratio, dirt, name, result)


def _instead(results: Results) -> str:
    """What stands in for photographs, for a caption."""
    there = runs.photos(results.scale)
    if there is None:
        return ""
    return (
        f"In its place: {captions.images(there)}, {there.name} scale; they come from ImageNet, on which the engine's"
        " network was trained."
    )


def table1(results: Results) -> Artefact:
    """TPR and FPR of VDC and its seven baselines on poisoned data, beside the printed values."""
    scale = results.scale
    cleaned = {name: result for _, name, _, result in got(results, "poisoned", needed=False)}
    found = detected(results, ATTACKS)
    ours = [row for name, result in cleaned.items() for row in _row(scale.dataset, ETA, name, "vdc", result)]
    rows, notes = ours + _average(ours), [_shares(results, found)]
    ratio = ETA if scale.plans == "paper" else BENCHMARK
    theirs = [row for attack, name, _, result in found for row in _row(scale.dataset, ratio, attack, name, result)]
    rows += theirs + _average(theirs)
    if scale.plans != "paper":
        for spec in runs.compared(scale, results.seed):
            rows += _row(scale.dataset, BENCHMARK, spec.attack, SAME, same) if (same := results.get(spec)) else []
        notes.append(
            f"The baselines look into the benchmark's classifiers ({100 * BENCHMARK:g} % poisoned, drawn from all"
            f" classes, width {scale.width}); the last row is VDC on exactly those training sets."
        )
    if not rows:
        raise NotRun(f"nothing was detected in poisoned data at {scale.name} scale")
    judged = coverage({attack for attack, *_ in found}, ATTACKS, "for its baselines")
    caption = f"Table 1. Poisoned-sample detection, {100 * ETA:g} % poisoned. {data(scale)} {about(cleaned.values())}"
    count = f"{coverage(cleaned, ATTACKS, 'triggers for VDC')}, {judged}"
    return _printed(results, "table1", caption, rows, count, notes)


def table_noisy_labels(results: Results) -> Artefact:
    """TPR and FPR of VDC and its five baselines on wrong labels, beside the printed values."""
    scale = results.scale
    cleaned = {name: result for _, name, _, result in got(results, "noisy", needed=False)}
    found = detected(results, NOISES)
    every = [*((name, "vdc", result) for name, result in cleaned.items()), *((d, n, r) for d, n, _, r in found)]
    rows = [row for dirt, name, result in every for row in _row(scale.dataset, NOISE, dirt, name, result)]
    if not rows:
        raise NotRun(f"no wrong label was looked for at {scale.name} scale")
    judged = coverage({noise for noise, *_ in found}, NOISES, "for its baselines")
    caption = (
        f"Table 3. Noisy-label detection, {100 * NOISE:g} % of the labels wrong. {data(scale)}"
        f" {about(cleaned.values())}"
    )
    photos = _on_photos(results, "table_noisy_labels")
    rows += [row for ratio, dirt, name, result in photos for row in _photo_row(results, ratio, dirt, name, result)]
    notes = [_shares(results, found)]
    if photos:
        asked = engine(photos[0][3])
        notes.append(f"ImageNet-100 is not among our data sets. {_instead(results)} VDC there: {asked}.")
    else:
        notes.append("ImageNet-100 is not among our data sets: printed values only.")
    count = f"{coverage(cleaned, NOISES, 'noises for VDC')}, {judged}"
    return _printed(results, "table_noisy_labels", caption, rows, count, notes)


# ------------------------------------------------------------------- wrong labels: equal terms, and each on its own


def _engines(results: Results, specs: Iterable[Spec]) -> str:
    """Who answered for VDC."""
    return about(result for spec in specs if (result := results.get(spec)) and "threshold" in result)


def table_same_features(results: Results) -> Artefact:
    """All detectors of wrong labels on the same features, with the same reference."""
    frame = fair_frame(results)
    shown = []
    for method, group in frame.groupby("method", sort=False):
        row = {"Method": runs.TITLES[str(method)]}
        for _, cell in group.iterrows():
            rates = f"{cell.auroc:.1f} | {cell.tpr:.1f} / {cell.fpr:.1f}"
            row[str(cell.noise)] = f"{rates} ({cell.failed})" if cell.failed else rates
        shown.append(row)
    scale, (n, reference) = results.scale, runs.FAIR[results.scale.plans]
    wanted, total = list(runs.fair(scale, results.seed)), n or scale.n_train or 50_000
    least = math.ceil(total / (0.1 * (reference // 2 + 1)))
    caption = (
        "Detectors of wrong labels on equal terms: AUROC | TPR / FPR by each method's own rule, in percent"
        f" ({coverage(frame.index, wanted, 'runs')}). {data(scale)}{f' {n:,} of the images.' if n else ''}"
        f" {_engines(results, (spec for *_, spec in wanted))}"
    )
    notes = [
        (
            "All see the features of EfficientNet-Lite0 and no picture; a method that learns fits a linear head."
            f" {reference:,} clean reference images for those that use any: VDC (head and threshold, 10 % false alarms"
            " asked) and BHN. The others see none."
        ),
        (
            "A rule that flags nothing, or has collapsed (flags four fifths of everything), counts in no verdict. BHN"
            f" flags k of N where p is at most 0.1 k / N, in steps of 1 / {reference // 2 + 1:,}: {least} of {total:,}"
            f" must look worse than all {reference // 2:,} calibrating images, or twice as many than all but one, ...,"
            " or nothing is flagged."
        ),
    ]
    html = tables.to_html(pd.DataFrame(shown).fillna("–"), caption, notes=notes)
    return artefact_of(results, "table_same_features", "table", caption=caption, frame=frame, html=html)


def table_own_terms(results: Results) -> Artefact:
    """The same methods, each with what it sees in its own paper."""
    rows = []
    scale, seed = results.scale, results.seed
    for noise in NOISES:
        every = [("vdc", results.get(runs.noisy(scale, noise, seed=seed)))]
        every += [(name, result) for dirt, name, _, result in detected(results, (noise,)) if dirt == noise]
        rows += [
            {"Noise": dirt_title(noise, NOISE), "Method": runs.TITLES[name].split(",")[0], "Sees": runs.OWN_TERMS[name],
             "AUROC": number(result["auroc"]), "TPR": number(result["tpr"]), "FPR": number(result["fpr"]),
             "F1": number(result["f1"]), "": runs.failed(result)}
            for name, result in every if result
        ]  # fmt: skip
    if not rows:
        raise NotRun(f"no wrong label was looked for at {scale.name} scale")
    ours = (runs.noisy(scale, noise, seed=seed) for noise in NOISES)
    caption = f"Detectors of wrong labels, each on its own terms. {data(scale)} {_engines(results, ours)}"
    notes = [
        "In percent. Rows differ in what they see, so that they do not rank the methods: the table on equal terms does."
        " A rule that flags nothing, or has collapsed, counts in no verdict."
    ]
    return named_table(results, "table_own_terms", rows, caption, notes)


# -------------------------------------------------------------------------------------------------- further tables


def named_table(
    results: Results,
    id_: str,
    rows: list[dict[str, Any]],
    caption: str,
    notes: Iterable[str] = (),
    frame: pd.DataFrame | None = None,
) -> Artefact:
    shown = pd.DataFrame(rows)
    html = tables.to_html(shown, caption, notes=notes)
    return artefact_of(results, id_, "table", caption=caption, frame=shown if frame is None else frame, html=html)


def table_hybrid(results: Results) -> Artefact:
    """Wrong labels first, then poison: what VDC catches of each kind, and of each alone."""
    found = got(results, "hybrid")
    scale, seed = results.scale, results.seed
    rows = []
    for _, name, _, result in found:
        attack, noise = name.split("+")
        alone = (results.get(runs.cleaning(scale, attack, seed=seed)), results.get(runs.noisy(scale, noise, seed=seed)))
        kinds = result["kinds"]
        rows.append(
            {
                "Dirt": name_of(name), "Dirty images": result["n_dirty"],
                "TPR": number(result["tpr"]), "FPR": number(result["fpr"]),
                "TPR of the poisoned": number(kinds["poisoned"]["flagged"]),
                "poisoned alone": number(alone[0]["tpr"] if alone[0] else None),
                "TPR of the wrongly labelled": number(kinds["noisy"]["flagged"]),
                "wrongly labelled alone": number(alone[1]["tpr"] if alone[1] else None),
                "Paper": UNPUBLISHED,
            }
        )  # fmt: skip
    caption = (
        f"Hybrid dirt: {100 * NOISE:g} % of the labels wrong, then {100 * ETA:g} % poisoned "
        f"({coverage(found, runs.hybrids(scale), 'hybrids')}). {data(scale)} {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. Poisoned and wrongly labelled at once counts as poisoned.",
        "The paper's ratios are not known to us; these are those of its other tables.",
    ]
    return named_table(results, "table_hybrid", rows, caption, notes)


SETS = {"dirty": "nothing removed", "vdc": "what VDC flagged removed", "truth": "all dirt removed"}


def table_retraining(results: Results) -> Artefact:
    """C-Acc and ASR of classifiers trained on the dirty, the cleaned and the truly clean set."""
    scale, seed = results.scale, results.seed
    rows, specs = [], runs.retrainings(scale, seed)
    for (dirt, name), spec in specs.items():
        result = results.get(spec)
        if result is None:
            continue
        rows.append(
            {
                "Dirt": name_of(dirt), "Trained on": SETS[name], "Images": result["n_train"],
                "Poisoned left": result["n_poisoned"] if dirt == RETRAINED else None,
                "Wrong labels left": result.get("n_noisy"),
                "C-Acc": result["c_acc"], "ASR": result.get("asr"), "Paper": UNPUBLISHED,
            }
        )  # fmt: skip
    if not rows:
        raise NotRun(f"no classifier was trained on a cleaned set at {scale.name} scale")
    rows.sort(key=lambda row: (row["Dirt"], list(SETS.values()).index(row["Trained on"])))
    cleaned = [r for r in (results.get(runs.same_data(scale, RETRAINED, seed=seed)),) if r]
    ratio = specs[RETRAINED, "dirty"].ratio
    shown = {RETRAINED: f"{100 * ratio:g} %", NOISES[0]: f"{100 * NOISE:g} %"}
    dirt = ", ".join(f"{name_of(name)} at {shown[name]}" for name in dict.fromkeys(name for name, _ in specs))
    caption = (
        f"Training on the cleaned set: {dirt} ({coverage(rows, specs, 'trainings')}). {data(scale)} PreAct-ResNet18 of"
        f" width {scale.width}, one seed. {about(cleaned)}"
    )
    return named_table(results, "table_retraining", rows, caption, ["C-Acc and ASR in percent."])


def table_models(results: Results) -> Artefact:
    """The same cleaning by other engines, at the paper's threshold and at a calibrated one."""
    scale = results.scale
    found = [(d, s, r) for d, s in runs.engines(scale, results.seed) if (r := results.get(s)) is not None]
    if not found:
        raise NotRun(f"no engine was asked at {scale.name} scale")
    rows = []
    for dirt, spec, result in found:
        vote = rule(result, "vote", 0.5)
        calibrated = rule(result, "logit_mean", target=0.1)
        rows.append(
            {
                "Engine": result["model"], "Reference images": spec.reference or "none (ImageNet's taxonomy)"
                if spec.engine == "embedded" else spec.reference,
                "Dirt": name_of(dirt), "Class accuracy": number(result["class_accuracy"]),
                "TPR at vote < 0.5": number(vote["tpr"]), "FPR at vote < 0.5": number(vote["fpr"]),
                "TPR at 10 % FPR asked": number(calibrated and calibrated["tpr"]),
                "FPR at 10 % FPR asked": number(calibrated and calibrated["fpr"]),
                "AUROC, vote": number(vote["auroc"]),
                "AUROC, mean logit": number(rule(result, "logit_mean", 0.5)["auroc"]),
            }
        )  # fmt: skip
    wanted = ["InstructBLIP (Vicuna-7B)", "LLaVA-1.5-7B", "Qwen3-VL-2B"] if scale.plans != "paper" else []
    dash = {name: "needs an endpoint or a GPU" if name == "Reference images" else "–" for name in rows[0]}
    rows += [{**dash, "Engine": model, "Dirt": "not run"} for model in wanted]
    caption = f"Effect of the engine ({len(found)} cleanings). {data(scale)}"
    notes = [
        "In percent. Class accuracy: likeliest class of all pictures, triggers included, against the true one.",
        (
            "The embedded engine is a stand-in: ImageNet features with a head fitted on the reference images, or,"
            " without them, a table from ImageNet's classes to the data set's. Multimodal models read the questions and"
            " need neither."
        ),
    ]
    return named_table(results, "table_models", rows, caption, notes)


def table_time(results: Results) -> Artefact:
    """Seconds of every method, and what the paper's sets would cost."""
    scale = results.scale
    seconds: dict[tuple[str, str], list[float]] = {}
    for _, name, _, result in detected(results, (*ATTACKS, *NOISES)):
        seconds.setdefault((name, captions.device_of(results, result)), []).append(result["seconds"])
    same = [runs.same_data(scale, attack, seed=results.seed) for attack in runs.JUDGED[scale.plans]]
    every = [*(result for *_, result in got(results)), *filter(None, map(results.get, same))]
    cleaned = [result for result in every if result["images_per_second"] and result["asked"] >= result["n"]]
    if not cleaned:
        raise NotRun("no whole set was asked about in one go")
    first = cleaned[0]
    n = first["n"]
    rows = [
        {
            "Method": f"VDC, {first['model']}", "Seconds": round(n / first["images_per_second"], 1),
            "Images per second": first["images_per_second"], "Images per CPU second": first["images_per_cpu_second"],
            "On": captions.device_of(results, first), "Needs a trained classifier": "no",
        }
    ]  # fmt: skip
    for (name, device), found in seconds.items():
        mean = float(np.mean(found))
        rows.append(
            {
                "Method": style.title("detector", name), "Seconds": round(mean, 1), "Images per second": round(n / mean,
                1),
                "Images per CPU second": None, "On": device, "Needs a trained classifier": "no" if name == "frequency"
                else "yes, its training not counted",
            }
        )  # fmt: skip
    questions = first["general"] + first["specific"]
    derived = ", ".join(f"{name} {calls:,}" for name, calls in CALLS.items())
    hours = CALLS["CIFAR-10"] / questions / first["images_per_second"] / 3600
    caption = f"Computation time for {n:,} images, mean over the runs of a method. {data(scale)}"
    notes = [
        (
            "Derived, not measured: the paper's sets need so many questions to the multimodal model (images x"
            f" questions): {derived}. At one second each on one device, CIFAR-10 takes {CALLS['CIFAR-10'] / 3600:.0f}"
            f" hours; the embedded engine, which sees a picture once for all its questions, {hours:.1f} hours at the"
            " speed of the first row."
        ),
        (
            "Wall-clock time of one process on a machine that may have been shared; compare rows of the same device"
            " only. The paper's times are not published to us."
        ),
        (
            f"VDC's time is that of {n:,} pictures not seen before; another trigger on the same set asks only about"
            " what changed."
        ),
    ]
    return named_table(results, "table_time", rows, caption, notes)


def table_low_ratios(results: Results) -> Artefact:
    """The same triggers on a tenth of the images."""
    found = got(results, "few")
    scale, seed = results.scale, results.seed
    rows = []
    for _, attack, _, result in found:
        usual = results.get(runs.cleaning(scale, attack, seed=seed))
        rows.append(
            {
                "Trigger": style.title("attack", attack), "Poisoned": result["n_dirty"], "TPR": number(result["tpr"]),
                "FPR": number(result["fpr"]), "Precision": number(result["precision"]),
                "AUROC": number(result["auroc"]),
                f"TPR at {100 * ETA:g} %": number(usual["tpr"] if usual else None),
                f"Precision at {100 * ETA:g} %": number(usual["precision"] if usual else None), "Paper": UNPUBLISHED,
            }
        )  # fmt: skip
    caption = (
        f"Poisoned-sample detection at a ratio of {100 * LOW:g} %"
        f" ({coverage(found, runs.LOW_TRIGGERS[scale.plans], 'triggers')}). {data(scale)} {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. No classifier has to learn the trigger, so that TPR does not depend on how many images carry it;"
        " the share of false alarms among what is flagged does."
    ]
    return named_table(results, "table_low_ratios", rows, caption, notes)


def by_ratio(results: Results) -> Artefact:
    """VDC and its baselines on the same trigger at several shares of poison."""
    scale = results.scale
    rows: dict[str, dict[str, Any]] = {}
    planned = list(runs.by_ratio(scale, results.seed))
    for ratio, method, spec in planned:
        if (result := results.get(spec)) is not None:
            title = runs.TITLES["vdc"] if method == "vdc" else style.title("detector", method)
            row = rows.setdefault(method, {"Method": title})
            for metric in ("AUROC", "TPR", "FPR"):
                row[f"{metric} at {100 * ratio:g} %"] = number(result[metric.lower()])
    if not rows:
        raise NotRun(f"nothing was detected at several ratios at {scale.name} scale")
    columns = [f"{m} at {100 * r:g} %" for m in ("AUROC", "TPR", "FPR") for r in dict.fromkeys(r for r, *_ in planned)]
    lines = [{"Method": row["Method"], **{name: row.get(name, "–") for name in columns}} for row in rows.values()]
    found = sum(value != "–" for line in lines for name, value in line.items() if name.startswith("AUROC"))
    caption = (
        f"How much poison a detector needs: {style.title('attack', runs.BY_RATIO)} at several ratios"
        f" ({found} of {len(planned)} runs). {data(scale)} {_engines(results, (spec for *_, spec in planned))}"
    )
    notes = [
        "In percent; not in the paper. The baselines look into a classifier trained on exactly the images that VDC is"
        " asked about."
    ]
    return named_table(results, "by_ratio", lines, caption, notes)


def every_column(results: Results, planned: Any = runs.columns) -> Artefact:
    """All sets that VDC was asked to clean: rates, precision, AUROC of three scores."""
    found = got(results, planned=planned)
    rows = []
    for group, name, _, result in found:
        rows.append(
            {
                "Dirt": name_of(name), "Kind": group, "Dirty, %": number(100 * result["n_dirty"] / result["n"]),
                "TPR": number(result["tpr"]), "FPR": number(result["fpr"]), "Precision": number(result["precision"]),
                "F1": number(result["f1"]),
                **{f"AUROC, {text}": number(rule(result, score, 0.5)["auroc"]) for score, text in SCORES.items()},
                "Suggested label right": number(result["suggestions_right"]),
            }
        )  # fmt: skip
    total = list(planned(results.scale, results.seed))
    caption = (
        f"Everything that VDC cleaned ({coverage(found, total, 'sets')}). {data(results.scale)}"
        f" {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. AUROC: over all thresholds. Suggested label right: of the caught samples with a wrong label, the"
        " share for which the likeliest class is the true one."
    ]
    return named_table(results, "every_column", rows, caption, notes)


def ties(results: Results) -> Artefact:
    """The paper's rule, vote against 0.5, with the three ways to break a tie."""
    found = got(results, "poisoned,noisy")
    rows = []
    for _, name, _, result in found:
        row: dict[str, Any] = {"Dirt": name_of(name)}
        for tie, text in (
            ("clean", "a tie is clean"),
            ("dirty", "a tie is dirty"),
            ("paper-code", "as the authors' code"),
        ):
            rates = rule(result, "vote", 0.5, tie=tie)
            row |= {f"TPR, {text}": number(rates["tpr"]), f"FPR, {text}": number(rates["fpr"])}
        rows.append(row)
    caption = (
        f"What a tie costs: vote against 0.5 ({coverage(found, wanted_sets(results, 'poisoned,noisy'), 'sets')}). "
        f"{data(results.scale)} Engine: {engine(found[0][3])}."
    )
    notes = [
        "In percent. The authors' code counts a tie as caught when the sample is truly dirty and as clean when it is"
        " truly clean: it looks at the answer. Nobody can do that with data of unknown quality; it has the TPR of one"
        " honest rule and the FPR of the other."
    ]
    return named_table(results, "ties", rows, caption, notes)


def wanted_sets(results: Results, groups: str) -> list[Any]:
    return runs.of(groups, results.scale, results.seed)


def clean_label(results: Results) -> Artefact:
    """Attacks that keep the label: there is no contradiction to be seen."""
    found = got(results, "clean label")
    rows = [
        {
            "Attack": style.title("attack", name), "Poisoned": result["n_dirty"], "TPR": number(result["tpr"]),
            "FPR": number(result["fpr"]), "AUROC": number(result["auroc"]),
        }
        for _, name, _, result in found
    ]  # fmt: skip
    caption = (
        f"The limit: attacks whose poisoned images keep their label, {100 * runs.CLEAN_LABEL_RATIO:g} % poisoned"
        f" ({coverage(found, runs.CLEAN_LABEL[results.scale.plans], 'attacks')}). {data(results.scale)}"
        f" {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. 50 % AUROC is chance. What lies above it comes from the trigger's damage to the picture, not from"
        " the label."
    ]
    return named_table(results, "clean_label", rows, caption, notes)
