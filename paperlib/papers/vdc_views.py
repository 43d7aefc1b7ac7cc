"""The VDC paper (arXiv 2309.16211): how its tables and figures are drawn from the results of :mod:`paperlib.papers.vdc_runs`."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from paperlib.lab.spec import CleanseSpec, DetectSpec
from paperlib.papers import Results, shared, vdc_runs
from paperlib.papers.vdc_runs import ATTACKS, BENCHMARK, ETA, LOW, NOISE, NOISES, PAPER, RETRAINED
from paperlib.report import compare, style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published, raw
from paperlib.scales import Scale

UNPUBLISHED = "not published to us"
SCORES = {"vote": "vote", "mean_p": "mean probability", "logit_mean": "mean logit"}
PEOPLE = {"aggregate": "CIFAR-10N, majority of three", "worst": "CIFAR-10N, worst of three"}
SAME = "vdc, same data"
"""VDC's row on exactly the training sets into which its baselines look."""
CALLS = {"CIFAR-10": 50_000 * 6, "ImageNet-100": 50_000 * 8, "ImageNet-Dog": 8_000 * 6}
"""Questions to the multimodal model that the paper's sets need: images times questions."""


# ------------------------------------------------------------------------------------------------- words and numbers


def name_of(dirt: str) -> str:
    """``badnets+symmetric`` -> BadNets + Symmetric noise."""
    return " + ".join(PEOPLE.get(part, style.title("attack", part)) for part in dirt.split("+"))


def engine(result: Mapping[str, Any]) -> str:
    """The engine behind a result in one clause, with what it saw beforehand."""
    seen = (
        f"{result['reference']:,} clean labelled reference images ({result['reference_percent']:g} % of the data's size, "
        f"{result['reference_source']})"
        if result["reference"]
        else "no labelled picture"
    )
    stand_in = ", a stand-in for the paper's InstructBLIP" if result["engine"] == "embedded" else ""
    return f"{result['model']}{stand_in}, {seen}"


def about(found: Iterable[Mapping[str, Any]]) -> str:
    """Two sentences for a caption: who answered, and by which rule."""
    result = next(iter(found), None)
    if result is None:
        return ""
    rule = f"{SCORES[result['score']]} below {result['threshold']:.3g}"
    if result["target_fpr"]:
        rule += f", set on the reference for {100 * result['target_fpr']:g} % false alarms"
    return f"Engine: {engine(result)}; flagged: {rule}."


def data(scale: Scale) -> str:
    """Data set and size, for a caption."""
    return f"{shared.images(scale)}, {scale.name} scale."


def got(results: Results, groups: str = "") -> list[tuple[str, str, CleanseSpec, dict[str, Any]]]:
    """The columns that were run: group, name, spec, result.

    Raises
    ------
    NotRun
        None was.
    """
    wanted = [
        entry for entry in vdc_runs.columns(results.scale, results.seed) if not groups or entry[0] in groups.split(",")
    ]
    found = [(*entry, result) for entry in wanted if (result := results.get(entry[2])) is not None]
    if not found:
        raise NotRun(f"no set was cleaned by VDC at {results.scale.name} scale")
    return found


def coverage(found: Iterable[Any], wanted: Iterable[Any], what: str) -> str:
    """``5 of 6 triggers``."""
    return f"{len(list(found))} of {len(list(wanted))} {what}"


def _artefact(results: Results, id_: str, kind: str, **content: Any) -> Artefact:
    more = {"engine": vdc_runs.ENGINE[results.scale.name]}
    return shared.artefact(PAPER, results, id_, kind, more, **content)


def number(value: float | None, digits: int = 1) -> str:
    """A number for a cell; a dash where there is none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


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


def _detected(results: Results, dirts: Iterable[str]) -> list[tuple[str, str, DetectSpec, dict[str, Any]]]:
    kept = set(dirts)
    return [
        (dirt, name, spec, result)
        for dirt, name, spec in vdc_runs.detections(results.scale, results.seed)
        if dirt in kept and (result := results.get(spec)) is not None
    ]


def _beside(results: Results, rows: list[dict[str, Any]], item: str) -> pd.DataFrame:
    """Our rows beside the printed ones; at small scales the data set and the benchmark's ratio stand in for the paper's."""
    scale = results.scale
    printed = published(PAPER, item).assign(setting="")
    columns = ["dataset", "model", "ratio", "attack", "defense", "metric", "value", "n_seeds"]
    stand_ins: dict[str, dict[Any, Any]] | None = None
    if scale.name != "paper":
        stand_ins = {**(shared.stand_ins(scale) or {}), "ratio": {BENCHMARK: ETA}}
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

        ours = 100 * spec.n_clean / n if DETECTORS[name][0].access in (CLEAN, MODEL_AND_CLEAN) else 0.0
        parts.append(
            f"{style.title('detector', name)} {ours:g} % ({printed[name].removeprefix('clean_data=').replace('%', ' %')})"
        )
    return f"Clean images given to a method, ours (the paper's): {', '.join(parts)}." if parts else ""


def table1(results: Results) -> Artefact:
    """TPR and FPR of VDC and its seven baselines on poisoned data, beside the printed values."""
    scale, seed = results.scale, results.seed
    rows: list[dict[str, Any]] = []
    cleaned = []
    for attack in vdc_runs.TRIGGERS[scale.name]:
        if (result := results.get(vdc_runs.cleaning(scale, attack, seed=seed))) is not None:
            rows += _row(scale.dataset, ETA, attack, "vdc", result)
            cleaned.append(result)
    found = _detected(results, ATTACKS)
    for attack, name, _, result in found:
        rows += _row(scale.dataset, ETA if scale.name == "paper" else BENCHMARK, attack, name, result)
    if scale.name != "paper":
        for attack in vdc_runs.JUDGED[scale.name]:
            if (result := results.get(vdc_runs.same_data(scale, attack, seed=seed))) is not None:
                rows += _row(scale.dataset, BENCHMARK, attack, SAME, result)
    if not rows:
        raise NotRun(f"nothing was detected in poisoned data at {scale.name} scale")
    frame = _beside(results, rows + _average([row for row in rows if row["defense"] == "vdc"]), "table1")
    judged = {attack for attack, *_ in found}
    count = coverage(cleaned, ATTACKS, "triggers for VDC") + ", " + coverage(judged, ATTACKS, "for its baselines")
    caption = f"Table 1. Poisoned-sample detection, {100 * ETA:g} % poisoned. {data(scale)} {about(cleaned)}"
    notes = [_shares(results, found)]
    if scale.name != "paper":
        notes += [
            f"The baselines look into the benchmark's classifiers ({100 * BENCHMARK:g} % poisoned, drawn from all classes, width "
            f"{scale.width}); the last row is VDC on exactly those training sets.",
        ]
    html = tables.paper_table(
        _shown(frame), caption, rows=("defense",), columns="attack", everything=True, coverage=count, notes=notes
    )
    return _artefact(results, "table1", "table", caption=caption, frame=frame, html=html)


def printed_table(id_: str, title: str) -> Callable[[Results], Artefact]:
    """Draws a table of poisoned-sample detection of which there is print alone: its data set is not among ours."""

    def draw(results: Results) -> Artefact:
        frame = _beside(results, [], id_)
        caption = f"{title} Printed numbers only: the data set is made from ImageNet and is not among ours."
        html = tables.paper_table(
            _shown(frame), caption, rows=("defense",), columns="attack", everything=True, coverage="nothing run"
        )
        return _artefact(results, id_, "table", caption=caption, frame=frame, html=html)

    return draw


def table_noisy_labels(results: Results) -> Artefact:
    """TPR and FPR of VDC and its five baselines on wrong labels, beside the printed values."""
    scale, seed = results.scale, results.seed
    rows: list[dict[str, Any]] = []
    cleaned = []
    for noise in NOISES:
        if (result := results.get(vdc_runs.noisy(scale, noise, seed=seed))) is not None:
            rows += _row(scale.dataset, NOISE, noise, "vdc", result)
            cleaned.append(result)
    found = _detected(results, NOISES)
    for noise, name, _, result in found:
        rows += _row(scale.dataset, NOISE, noise, name, result)
    if not rows:
        raise NotRun(f"no wrong label was looked for at {scale.name} scale")
    frame = _beside(results, rows, "table_noisy_labels")
    frame = frame.sort_values("dataset", key=lambda names: names != "cifar10", kind="stable")
    count = (
        coverage(cleaned, NOISES, "noises for VDC")
        + ", "
        + coverage({n for n, *_ in found}, NOISES, "for its baselines")
    )
    caption = f"Table 3. Noisy-label detection, {100 * NOISE:g} % of the labels wrong. {data(scale)} {about(cleaned)}"
    notes = [_shares(results, found), "ImageNet-100 is not among our data sets: printed values only."]
    html = tables.paper_table(
        _shown(frame),
        caption,
        rows=("dataset", "defense"),
        columns="attack",
        everything=True,
        coverage=count,
        notes=notes,
    )
    return _artefact(results, "table_noisy_labels", "table", caption=caption, frame=frame, html=html)


# -------------------------------------------------------------------------------------------------- further tables


def _table(
    results: Results,
    id_: str,
    rows: list[dict[str, Any]],
    caption: str,
    notes: Iterable[str] = (),
    frame: pd.DataFrame | None = None,
) -> Artefact:
    shown = pd.DataFrame(rows)
    html = tables.to_html(shown, caption, notes=notes)
    return _artefact(results, id_, "table", caption=caption, frame=shown if frame is None else frame, html=html)


def table_hybrid(results: Results) -> Artefact:
    """Wrong labels first, then poison: what VDC catches of each kind, and of each alone."""
    found = got(results, "hybrid")
    scale, seed = results.scale, results.seed
    rows = []
    for _, name, _, result in found:
        attack, noise = name.split("+")
        alone = (
            results.get(vdc_runs.cleaning(scale, attack, seed=seed)),
            results.get(vdc_runs.noisy(scale, noise, seed=seed)),
        )
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
        f"({coverage(found, vdc_runs.hybrids(scale), 'hybrids')}). {data(scale)} {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. Poisoned and wrongly labelled at once counts as poisoned.",
        "The paper's ratios are not known to us; these are those of its other tables.",
    ]
    return _table(results, "table_hybrid", rows, caption, notes)


SETS = {"dirty": "nothing removed", "vdc": "what VDC flagged removed", "truth": "all dirt removed"}


def table_retraining(results: Results) -> Artefact:
    """C-Acc and ASR of classifiers trained on the dirty, the cleaned and the truly clean set."""
    scale, seed = results.scale, results.seed
    rows, specs = [], vdc_runs.retrainings(scale, seed)
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
    cleaned = [r for r in (results.get(vdc_runs.same_data(scale, RETRAINED, seed=seed)),) if r]
    ratio = specs[RETRAINED, "dirty"].ratio
    shown = {RETRAINED: f"{100 * ratio:g} %", NOISES[0]: f"{100 * NOISE:g} %"}
    dirt = ", ".join(f"{name_of(name)} at {shown[name]}" for name in dict.fromkeys(name for name, _ in specs))
    caption = (
        f"Training on the cleaned set: {dirt} ({coverage(rows, specs, 'trainings')}). {data(scale)} PreAct-ResNet18 of width "
        f"{scale.width}, one seed. {about(cleaned)}"
    )
    return _table(results, "table_retraining", rows, caption, ["C-Acc and ASR in percent."])


def table_models(results: Results) -> Artefact:
    """The same cleaning by other engines, at the paper's threshold and at a calibrated one."""
    scale = results.scale
    found = [(d, s, r) for d, s in vdc_runs.engines(scale, results.seed) if (r := results.get(s)) is not None]
    if not found:
        raise NotRun(f"no engine was asked at {scale.name} scale")
    rows = []
    for dirt, spec, result in found:
        vote = rule(result, "vote", 0.5)
        calibrated = rule(result, "logit_mean", target=0.1)
        rows.append(
            {
                "Engine": result["model"], "Reference images": spec.reference or "none (ImageNet's taxonomy)" if spec.engine == "embedded" else spec.reference,
                "Dirt": name_of(dirt), "Class accuracy": number(result["class_accuracy"]),
                "TPR at vote < 0.5": number(vote["tpr"]), "FPR at vote < 0.5": number(vote["fpr"]),
                "TPR at 10 % FPR asked": number(calibrated and calibrated["tpr"]),
                "FPR at 10 % FPR asked": number(calibrated and calibrated["fpr"]),
                "AUROC, vote": number(vote["auroc"]),
                "AUROC, mean logit": number(rule(result, "logit_mean", 0.5)["auroc"]),
            }
        )  # fmt: skip
    wanted = ["InstructBLIP (Vicuna-7B)", "LLaVA-1.5-7B", "Qwen3-VL-2B"] if scale.name != "paper" else []
    dash = {name: "needs an endpoint or a GPU" if name == "Reference images" else "–" for name in rows[0]}
    rows += [{**dash, "Engine": model, "Dirt": "not run"} for model in wanted]
    caption = f"Effect of the engine ({len(found)} cleanings). {data(scale)}"
    notes = [
        "In percent. Class accuracy: likeliest class of all pictures, triggers included, against the true one.",
        "The embedded engine is a stand-in: ImageNet features with a head fitted on the reference images, or, without them, a table "
        "from ImageNet's classes to the data set's. Multimodal models read the questions and need neither.",
    ]
    return _table(results, "table_models", rows, caption, notes)


def rule(
    result: Mapping[str, Any],
    score: str,
    alpha: float | None = None,
    *,
    tie: str = "clean",
    target: float | None = None,
) -> Any:
    """The rates of a result under a rule; None where it was not evaluated."""
    for entry in result["rules"]:
        same = entry["score"] == score and entry["tie"] == tie and entry.get("target_fpr") == target
        if same and (target is not None or entry["alpha"] == alpha):
            return entry
    return None


def table_time(results: Results) -> Artefact:
    """Seconds of every method, and what the paper's sets would cost."""
    scale = results.scale
    seconds: dict[tuple[str, str], list[float]] = {}
    for _, name, _, result in _detected(results, (*ATTACKS, *NOISES)):
        seconds.setdefault((name, shared.device_of(results, result)), []).append(result["seconds"])
    same = [vdc_runs.same_data(scale, attack, seed=results.seed) for attack in vdc_runs.JUDGED[scale.name]]
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
            "On": shared.device_of(results, first), "Needs a trained classifier": "no",
        }
    ]  # fmt: skip
    for (name, device), found in seconds.items():
        mean = float(np.mean(found))
        rows.append(
            {
                "Method": style.title("detector", name), "Seconds": round(mean, 1), "Images per second": round(n / mean, 1),
                "Images per CPU second": None, "On": device, "Needs a trained classifier": "no" if name == "frequency" else "yes, its training not counted",
            }
        )  # fmt: skip
    questions = first["general"] + first["specific"]
    derived = ", ".join(f"{name} {calls:,}" for name, calls in CALLS.items())
    hours = CALLS["CIFAR-10"] / questions / first["images_per_second"] / 3600
    caption = f"Computation time for {n:,} images, mean over the runs of a method. {data(scale)}"
    notes = [
        f"Derived, not measured: the paper's sets need so many questions to the multimodal model (images x questions): {derived}. "
        f"At one second each on one device, CIFAR-10 takes {CALLS['CIFAR-10'] / 3600:.0f} hours; the embedded engine, which sees a "
        f"picture once for all its questions, {hours:.1f} hours at the speed of the first row.",
        "Wall-clock time of one process on a machine that may have been shared; compare rows of the same device only. The paper's times "
        "are not published to us.",
        f"VDC's time is that of {n:,} pictures not seen before; another trigger on the same set asks only about what changed.",
    ]
    return _table(results, "table_time", rows, caption, notes)


def table_low_ratios(results: Results) -> Artefact:
    """The same triggers on a tenth of the images."""
    found = got(results, "few")
    scale, seed = results.scale, results.seed
    rows = []
    for _, attack, _, result in found:
        usual = results.get(vdc_runs.cleaning(scale, attack, seed=seed))
        rows.append(
            {
                "Trigger": style.title("attack", attack), "Poisoned": result["n_dirty"], "TPR": number(result["tpr"]),
                "FPR": number(result["fpr"]), "Precision": number(result["precision"]), "AUROC": number(result["auroc"]),
                f"TPR at {100 * ETA:g} %": number(usual["tpr"] if usual else None),
                f"Precision at {100 * ETA:g} %": number(usual["precision"] if usual else None), "Paper": UNPUBLISHED,
            }
        )  # fmt: skip
    caption = (
        f"Poisoned-sample detection at a ratio of {100 * LOW:g} % ({coverage(found, vdc_runs.LOW_TRIGGERS[scale.name], 'triggers')}). "
        f"{data(scale)} {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. No classifier has to learn the trigger, so that TPR does not depend on how many images carry it; the share of "
        "false alarms among what is flagged does."
    ]
    return _table(results, "table_low_ratios", rows, caption, notes)


def every_column(results: Results) -> Artefact:
    """All sets that VDC was asked to clean: rates, precision, AUROC of three scores."""
    found = got(results)
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
    total = list(vdc_runs.columns(results.scale, results.seed))
    caption = f"Everything that VDC cleaned ({coverage(found, total, 'sets')}). {data(results.scale)} {about(r for *_, r in found)}"
    notes = [
        "In percent. AUROC: over all thresholds. Suggested label right: of the caught samples with a wrong label, the share for "
        "which the likeliest class is the true one."
    ]
    return _table(results, "every_column", rows, caption, notes)


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
        f"What a tie costs: vote against 0.5 ({coverage(found, _wanted(results, 'poisoned,noisy'), 'sets')}). "
        f"{data(results.scale)} Engine: {engine(found[0][3])}."
    )
    notes = [
        "In percent. The authors' code counts a tie as caught when the sample is truly dirty and as clean when it is truly clean: "
        "it looks at the answer. Nobody can do that with data of unknown quality; it has the TPR of one honest rule and the FPR of the other."
    ]
    return _table(results, "ties", rows, caption, notes)


def _wanted(results: Results, groups: str) -> list[Any]:
    return vdc_runs.of(groups, results.scale, results.seed)


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
        f"The limit: attacks whose poisoned images keep their label, {100 * vdc_runs.CLEAN_LABEL_RATIO:g} % poisoned "
        f"({coverage(found, vdc_runs.CLEAN_LABEL[results.scale.name], 'attacks')}). {data(results.scale)} {about(r for *_, r in found)}"
    )
    notes = [
        "In percent. 50 % AUROC is chance. What lies above it comes from the trigger's damage to the picture, not from the label."
    ]
    return _table(results, "clean_label", rows, caption, notes)


def questions(results: Results) -> Artefact:
    """Which questions tell clean from dirty, and which do not."""
    name, result = next(((n, r) for g, n, _, r in got(results, "noisy") if n == "symmetric"), (None, None))
    if result is None:
        raise NotRun("symmetric noise was not cleaned")
    frame = pd.DataFrame(result["per_question"])
    frame["gap"] = frame.clean - frame.dirty
    ranked = frame.dropna(subset=["gap"]).sort_values("gap", ascending=False, kind="stable")
    shown = pd.concat([ranked.head(5), ranked.tail(8)])
    rows = [
        {
            "Label": row["label"], "Question (ours)": row["question"], "Right on clean": number(row["clean"]),
            "Right on dirty": number(row["dirty"]), "Difference": number(row["gap"]),
        }
        for row in shown.to_dict("records")
    ]  # fmt: skip
    means = ranked.groupby("kind").gap.mean()
    caption = (
        f"Good and poor questions: the 5 best and the 8 worst of {len(ranked)} by how much more often they are answered right on clean than on "
        f"dirty samples ({name_of(str(name))}, {100 * NOISE:g} %). {data(results.scale)} Engine: {engine(result)}."
    )
    notes = [
        f"Mean difference in points: {', '.join(f'{kind} questions {value:.1f}' for kind, value in means.items())}. In percent."
    ]
    return _table(results, "questions", rows, caption, notes, frame)


# --------------------------------------------------------------------------------------------------------- settings


def _settings(results: Results, id_: str, title: str, words: tuple[str, ...], ours: list[tuple[str, str]]) -> Artefact:
    frame = raw("vdc_settings.csv")
    found = frame[frame.item.map(lambda item: any(word in item for word in words))]
    shown = found.rename(
        columns={"item": "Setting", "dataset": "Data set", "value": "The paper", "status": "How it is known"}
    ).drop(columns="source")
    notes = [f"Ours at {results.scale.name} scale, {name}: {value}." for name, value in ours]
    html = tables.to_html(shown, title, notes=notes)
    return _artefact(results, id_, "table", caption=title, frame=found, html=html)


def table_attack_settings(results: Results) -> Artefact:
    """Data sets, dirt and questions as far as they are known, and ours."""
    scale = results.scale
    ours = [
        ("data", shared.images(scale)),
        (
            "triggers",
            ", ".join(style.title("attack", a) for a in vdc_runs.TRIGGERS[scale.name])
            + " with the benchmark's settings",
        ),
        ("poisoned", f"{100 * ETA:g} % and {100 * LOW:g} %, the same number from every class but the target"),
        ("noise", f"{100 * NOISE:g} %, symmetric and asymmetric"),
    ]
    words = ("trigger", "classes", "per class", "per non-target", "target", "noise", "SIG", "questions")
    return _settings(
        results,
        "table_attack_settings",
        "Data sets, dirt and questions of the paper, as far as they are known",
        words,
        ours,
    )


def table_training_settings(results: Results) -> Artefact:
    """How the paper trains on the cleaned set, and how we do."""
    scale = results.scale
    ours = [
        ("network", f"PreAct-ResNet18 of width {scale.width}"),
        (
            "training",
            f"{scale.epochs} epochs, batch {scale.batch_size}, learning rate {scale.lr:g}, {scale.schedule.replace('_', ' ')}",
        ),
        ("engine", vdc_runs.ENGINE[scale.name]["engine"]),
    ]
    words = ("retraining", "MLLM", "LLM", "decoding", "threshold", "tie rule")
    return _settings(
        results,
        "table_training_settings",
        "Training on the cleaned set and the paper's models, as far as they are known",
        words,
        ours,
    )


OURS_ONLY = "The wording is ours; the paper's text is not reproduced."


def table10(results: Results) -> Artefact:
    """Our general questions."""
    from paperlib.vdc.questions import bank

    rows = [
        {"Bank": name, "General question (ours)": question.text}
        for name in ("cifar10", "digits", "template")
        for question in bank(name, ("airplane",) if name == "cifar10" else ("0",)).general
    ]
    return _table(
        results,
        "table10",
        rows,
        f"Table 10. General questions. {OURS_ONLY}",
        ["The answer to each is a description; it is right when it names the label."],
    )


def _specific(name: str) -> list[dict[str, Any]]:
    from paperlib.vdc.questions import FOLDER, from_file

    found = from_file(FOLDER / f"{name}.yaml")
    return [
        {"Label": label, "Question (ours)": question.text, "About": question.attribute, "Right answer": question.expected,
         "True of": ", ".join(sorted(found.attributes.get(question.attribute, ())))}
        for label, questions_ in found.specific.items()
        for question in questions_
    ]  # fmt: skip


def table11(results: Results) -> Artefact:
    """Our label-specific questions for CIFAR-10, and the request that would have a chat model suggest more."""
    from paperlib.vdc.questions import REQUEST

    caption = f"Table 11. Label-specific questions for CIFAR-10. {OURS_ONLY}"
    return _table(
        results, "table11", _specific("cifar10"), caption, [f"Our request to a chat model for more: {REQUEST}"]
    )


def table12(results: Results) -> Artefact:
    """Our label-specific questions for digits, and the request with which a chat model judges a description."""
    from paperlib.vdc.judges import REQUEST

    caption = f"Table 12. Label-specific questions for digits. {OURS_ONLY}"
    return _table(
        results,
        "table12",
        _specific("digits"),
        caption,
        [f"Our request to a chat model that judges a description: {REQUEST}"],
    )


# ---------------------------------------------------------------------------------------------------------- figures


def fig2(results: Results) -> Artefact:
    """Kinds and number of questions: mean rates at the paper's threshold over triggers and noises."""
    import matplotlib.pyplot as plt

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
    with style.context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.5))
        said = []
        for i, (key, text) in enumerate(kinds.items()):
            row = mean[(mean.general == key[0]) & (mean.specific == key[1])].iloc[0]
            for k, (metric, label, colour, hatch) in enumerate(
                (
                    ("tpr", "TPR", "#0173b2", ""),
                    ("fpr", "FPR", "#de8f05", "//"),
                    ("auroc_logit_mean", "AUROC, mean logit", "#8a8a8a", ".."),
                )
            ):
                left.bar(
                    i + 0.26 * (k - 1),
                    row[metric],
                    0.24,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    label=label if not i else None,
                )
                left.text(i + 0.26 * (k - 1), row[metric] + 1, f"{row[metric]:.0f}", ha="center", fontsize=6.5)
            said.append(f"{text} ({sum(key)} questions): TPR {row.tpr:.1f}, FPR {row.fpr:.1f}")
        left.set_xticks(range(3), [f"{text}\n({sum(key)})" for key, text in kinds.items()])
        left.set(ylim=(0, 118), ylabel="%", title="(a) kind of questions")
        left.legend(fontsize=6.5, ncols=3, loc="upper center", columnspacing=0.8, handlelength=1.2)
        for part, text, line, marker in (
            (mean[mean.general == 0], "specific only", "--", "o"), (mean[(mean.general == g) & (mean.specific > 0)], "general and specific", "-", "s"),
        ):  # fmt: skip
            x = part.general + part.specific
            right.plot(x, part.tpr, color="#0173b2", linestyle=line, marker=marker, label=f"TPR, {text}")
            right.plot(x, part.fpr, color="#de8f05", linestyle=line, marker=marker, label=f"FPR, {text}")
        right.set(xlabel="questions", ylabel="%", title="(b) number of questions", ylim=(0, 105))
        right.set_xticks(range(1, g + s + 1))
        right.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return _artefact(
        results, "fig2", "figure", figure=figure, frame=frame,
        caption=f"Figure 2. Kind and number of questions, vote against 0.5, mean over {coverage(found, _wanted(results, 'poisoned,noisy'), 'sets')}. "
        f"{data(results.scale)} Engine: {engine(found[0][3])}.{one}",
        alt=f"Mean over the sets: {'; '.join(said)}.",
    )  # fmt: skip


def pixels(text: str, shape: Iterable[int]) -> np.ndarray:
    """A packed picture as an array (H, W, C)."""
    channels, height, width = shape
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, channels)


def _bare(place: Any) -> None:
    place.set(xticks=[], yticks=[])
    place.grid(False)
    for side in place.spines.values():
        side.set_visible(False)


def fig3(results: Results) -> Artefact:
    """One picture per trigger: before, after, and the difference."""
    import matplotlib.pyplot as plt

    found = got(results, "poisoned")
    rows = []
    with style.context():
        figure, axes = plt.subplots(3, len(found), figsize=(1.05 * len(found), 3.2), squeeze=False)
        for k, (_, attack, _, result) in enumerate(found):
            shown = result["triggered"]
            before, after = (pixels(shown[name][0], shown["shape"]) for name in ("before", "after"))
            change = after.astype(float) - before
            for place, image in zip(
                axes[:, k], (before, after, np.clip(127.5 + 5 * change / 2, 0, 255).astype(np.uint8)), strict=True
            ):
                _bare(place)
                place.imshow(image)
            axes[0, k].set_title(style.title("attack", attack), fontsize=8)
            axes[2, k].set_xlabel(f"mean change\n{np.abs(change).mean():.1f} of 255", fontsize=6.5)
            rows.append((attack, shown["true"][0], float(np.abs(change).mean()), float(np.abs(change).max())))
        for place, text in zip(axes[:, 0], ("clean", "poisoned", "difference × 2.5"), strict=True):
            place.set_ylabel(text, fontsize=7)
    frame = pd.DataFrame(rows, columns=["attack", "true_class", "mean_change", "largest_change"])
    said = ", ".join(f"{style.title('attack', a)} {m:.1f}" for a, _, m, _ in rows)
    return _artefact(
        results, "fig3", "figure", figure=figure, frame=frame,
        caption=f"Figure 3. Poisoned pictures ({coverage(found, ATTACKS, 'triggers')}); each gets the label of class 0. {data(results.scale)}",
        alt=f"For each trigger a picture without and with it, and their difference around grey. Mean change of a pixel value: {said}.",
    )  # fmt: skip


def roc(results: Results) -> Artefact:
    """ROC curves of the mean logit, and where the vote's threshold of 0.5 lies."""
    import matplotlib.pyplot as plt

    found = got(results, "poisoned,noisy")
    rows, said = [], []
    with style.context():
        figure, axes = plt.subplots(figsize=(style.COLUMN * 1.5, 2.8))
        for _, name, _, result in found:
            look = style.look("attack", name)
            curve = result["roc"]["logit_mean"]
            auroc = rule(result, "logit_mean", 0.5)["auroc"]
            axes.plot(
                curve["fpr"],
                curve["tpr"],
                color=look.colour,
                linestyle=look.line,
                label=f"{look.title}, AUROC {auroc:.1f}",
            )
            vote = rule(result, "vote", 0.5)
            axes.plot(vote["fpr"], vote["tpr"], color=look.colour, marker=look.marker, linestyle="none", markersize=5)
            rows += [(name, "logit_mean", f, t) for f, t in zip(curve["fpr"], curve["tpr"], strict=True)]
            rows.append((name, "vote at 0.5", vote["fpr"], vote["tpr"]))
            said.append(f"{look.title} {auroc:.1f}")
        axes.set(xlabel="FPR, %", ylabel="TPR, %", xlim=(0, 50), ylim=(50, 101))
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return _artefact(
        results, "roc", "figure", figure=figure, frame=pd.DataFrame(rows, columns=["dirt", "score", "fpr", "tpr"]),
        caption=f"ROC curves of the mean logit; markers: the paper's rule, vote below 0.5 ({coverage(found, _wanted(results, 'poisoned,noisy'), 'sets')}). "
        f"{data(results.scale)} Engine: {engine(found[0][3])}.",
        alt=f"Upper left part of the plane of FPR and TPR. AUROC of the mean logit in percent: {', '.join(said)}.",
    )  # fmt: skip


def threshold(results: Results) -> Artefact:
    """TPR and FPR over the threshold for two scores, on symmetric noise."""
    import matplotlib.pyplot as plt

    found = {name: result for _, name, _, result in got(results, "poisoned,noisy")}
    shown = [name for name in (ATTACKS[0], NOISES[0]) if name in found]
    if not shown:
        raise NotRun("neither BadNets nor symmetric noise was cleaned")
    rows, said = [], []
    with style.context():
        figure, axes = plt.subplots(
            1, len(shown), figsize=(style.PAGE * len(shown) / 2 + 0.2, 2.4), sharey=True, squeeze=False
        )
        for place, name in zip(axes[0], shown, strict=True):
            curves = found[name]["thresholds"]
            for score, line in (("vote", "-"), ("logit_mean", "--")):
                for metric, colour in (("tpr", "#0173b2"), ("fpr", "#de8f05")):
                    place.plot(
                        curves["alpha"],
                        curves[score][metric],
                        color=colour,
                        linestyle=line,
                        label=f"{metric.upper()}, {SCORES[score]}",
                    )
                    rows += [
                        (name, score, metric, a, v) for a, v in zip(curves["alpha"], curves[score][metric], strict=True)
                    ]
            place.axvline(0.5, color="#555555", linewidth=0.8, linestyle=":")
            place.set(xlabel="threshold", title=name_of(name), ylim=(-2, 102))
            vote = rule(found[name], "vote", 0.5)
            said.append(f"{name_of(name)} at vote 0.5: TPR {vote['tpr']:.1f}, FPR {vote['fpr']:.1f}")
        axes[0, 0].set_ylabel("%")
        axes[0, -1].legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1, 1))
    frame = pd.DataFrame(rows, columns=["dirt", "score", "metric", "threshold", "value"])
    return _artefact(
        results, "threshold", "figure", figure=figure, frame=frame,
        caption=f"TPR and FPR over the threshold below which a sample is dirty; dotted: the paper's 0.5. {data(results.scale)} Engine: "
        f"{engine(found[shown[0]])}.",
        alt=f"Both rates rise with the threshold, the vote's in steps. {'; '.join(said)}.",
    )  # fmt: skip


def missed(results: Results) -> dict[str, int]:
    """Detector -> poisoned images of the retrained attack that it missed, on the benchmark's set."""
    scale, seed = results.scale, results.seed
    out = {}
    if (result := results.get(vdc_runs.same_data(scale, RETRAINED, seed=seed))) is not None:
        out["vdc"] = result["n_missed"]
    n = round(vdc_runs.victim(scale, RETRAINED, seed=seed).ratio * (scale.n_train or 50_000))
    for _, name, _, result in _detected(results, (RETRAINED,)):
        out[name] = round(n * (1 - result["tpr"] / 100))
    return out


def slipped(results: Results) -> Artefact:
    """ASR over the number of poisoned images that are left, and how many each detector leaves."""
    import matplotlib.pyplot as plt

    scale = results.scale
    wanted = vdc_runs.slipped(scale, results.seed)
    rows = [
        (r, result["n_poisoned"], result["asr"], result["c_acc"])
        for r, spec in wanted.items()
        if (result := results.get(spec))
    ]
    if not rows:
        raise NotRun(f"no classifier with few poisoned images at {scale.name} scale")
    frame = pd.DataFrame(rows, columns=["ratio", "poisoned", "asr", "c_acc"])
    left = missed(results)
    cleaned = [r for r in (results.get(vdc_runs.same_data(scale, RETRAINED, seed=results.seed)),) if r]
    with style.context():
        figure, axes = plt.subplots(figsize=(style.COLUMN * 1.5, 2.7))
        axes.plot(frame.poisoned, frame.asr, color="#333333", marker="o", label="ASR")
        axes.plot(frame.poisoned, frame.c_acc, color="#8a8a8a", marker="s", linestyle=":", label="C-Acc")
        for k, (name, count) in enumerate(sorted(left.items(), key=lambda item: item[1])):
            look = style.look("detector", name)
            axes.plot(
                count,
                -6 - 5 * (k % 3),
                marker=look.marker,
                color=look.colour,
                linestyle="none",
                clip_on=False,
                label=f"{look.title} misses {count:,}",
            )
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
    return _artefact(
        results, "slipped", "figure", figure=figure, frame=frame,
        caption=f"How good a detector has to be: ASR and C-Acc over the number of poisoned images ({coverage(rows, wanted, 'trainings')}), and, "
        f"below, how many of the {round(BENCHMARK * (scale.n_train or 50_000)):,} each detector misses. {data(scale)} One seed. {about(cleaned)}",
        alt=f"ASR in percent by number of poisoned images: {said}. Missed: {caught}.",
    )  # fmt: skip


def gallery(results: Results) -> Artefact:
    """What was caught, missed and wrongly suspected, and why."""
    import textwrap

    import matplotlib.pyplot as plt

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
    with style.context():
        figure, axes = plt.subplots(lines, columns, figsize=(style.PAGE * 1.25, 2.1 * lines), squeeze=False)
        for place in axes.flat:
            place.set_axis_off()
        for place, (name, example) in zip(axes.flat, kept, strict=False):
            place.imshow(pixels(example["picture"], example["shape"]))
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
    return _artefact(
        results, "gallery", "figure", figure=figure, frame=frame,
        caption=f"What was caught, what was missed, and false alarms, the surest of each; below each picture one question that did not confirm "
        f"the label. {data(results.scale)} {about(r for *_, r in found)}",
        alt=f"{', '.join(f'{n} {group}' for group, n in counts.items())}. " + "; ".join(f"{e['group']}: a {e['true']} labelled {e['label']} ({n})" for n, e in kept[:6]) + ".",
    )  # fmt: skip
