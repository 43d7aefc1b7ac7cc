"""One cleaning run of the lab: a dirty training set made from its seeds, asked about, and everything counted once.

What is flagged follows the rule of the spec. All other numbers come from the same answers, so that another threshold,
score or number of questions needs no run of its own: rates at several rules, ROC curves, rates over the threshold and
over subsets of the questions. Answers are kept in ``answers.sqlite`` of the store, keyed by content: a clean picture is
asked about once, whatever was done to the others.

Introduced in notebook 01.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from paperlib.analysis.samples import packed
from paperlib.attacks.scene import Scene
from paperlib.data import images
from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError
from paperlib.experiments.scene import scene_of
from paperlib.experiments.specs import CleanseSpec
from paperlib.lab.run import Context, Step
from paperlib.lab.spec import Pairs, pairs
from paperlib.training import pick_device, save_weights
from paperlib.vdc import scoring
from paperlib.vdc.asking import Asked
from paperlib.vdc.cleanse import cleanse, suggestions
from paperlib.vdc.engines import ON_FEATURES, TRUTH
from paperlib.vdc.engines import engine as engine_by_name
from paperlib.vdc.pictures import as_pictures
from paperlib.vdc.questions import QuestionBank, bank
from paperlib.vdc.report import CleanReport
from paperlib.vdc.same_features import judge
from paperlib.vdc.types import Answer, Picture, Question

REMEMBERED = 40_000
"""Pictures whose features the embedded engine keeps in memory (0.2 GB): columns share most of them."""
TARGETS = (0.02, 0.05, 0.1, 0.15, 0.2)
"""Shares of clean images at which thresholds are calibrated."""
CURVE = np.concatenate([np.arange(0, 0.2, 0.01), np.arange(0.2, 1.001, 0.05)])
"""False positive rates of a ROC curve with too many points."""
ALPHAS = np.linspace(0, 1, 21)
SHOWN = {"caught": 2, "missed": 1, "false alarm": 1}
"""Pictures that go with a result."""


def reference_of(dataset: str, n_train: int, n: int, seed: int) -> tuple[ImageData, str]:
    """``n`` clean images, class-balanced, none of which is among the ``n_train``, and where they come from.

    Training images that the subset leaves over; where too few are left, test images.

    Raises
    ------
    PaperlibError
        ``n`` cannot be balanced.
    """
    train = images.load(dataset, "train")
    smallest = int(train.y.bincount(minlength=train.n_classes).min())
    if n_train and n_train + n <= smallest * train.n_classes:
        # subsets of one seed are nested: what comes after the first n_train is what they leave over
        return train.subset(images.balanced_subset(train.y, n_train + n, seed)[n_train:]), "training images left over"
    test = images.load(dataset, "test")
    return test.subset(images.balanced_subset(test.y, n, seed)), "test images"


class _Watched:
    """An engine whose time is taken, on pictures that it had not seen before."""

    def __init__(self, engine: Any, fitting: float, total: int, progress: Step) -> None:
        self.engine, self.info, self.total, self.progress = engine, engine.info, total, progress
        self.asked = self.timed = 0
        self.seconds = self.work = 0.0
        self.fitting = fitting

    def fit(self, *_: Any) -> "_Watched":
        """As it is: :func:`_fitted` has fitted it already."""
        return self

    def fingerprint(self) -> str:
        return self.engine.fingerprint()

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        memory = getattr(self.engine, "memory", None)
        before, start, work = len(memory or ()), time.perf_counter(), time.process_time()
        out = self.engine.answer(pictures, questions)
        if memory is None or len(memory) - before == len(pictures):
            self.timed += len(pictures)
            self.seconds += time.perf_counter() - start
            self.work += time.process_time() - work
        self.asked += len(pictures)
        self.progress(min(1.0, self.asked / self.total), "asking")
        return out

    def close(self) -> None:
        self.engine.close()


def _bank(names: Sequence[str], asked: str) -> QuestionBank:
    """The bank ``asked`` for, else that of the names; our data sets whose classes are numbers show digits."""
    return bank(asked or ("digits" if all(name.isdigit() and len(name) == 1 for name in names) else "auto"), names)


@lru_cache(maxsize=2)
def _engine(name: str, params: Pairs, device: str) -> Any:
    options = dict(params)
    if name in ("embedded", "transformers", "clip"):
        options["device"] = device
    if name == "embedded":
        options["remember"] = REMEMBERED
    return engine_by_name(name, **options)


@lru_cache(maxsize=4)
def _fitted(
    name: str, params: Pairs, device: str, dataset: str, n_train: int, reference: int, seed: int, questions: str
) -> tuple[Any, float, tuple[Any, Any] | None, str]:
    """The engine as it asks about all columns of a data set, the seconds that it took to fit, and the reference."""
    known, source, given = None, "", None
    names = images.load(dataset, "test").class_names
    if reference:
        found, source = reference_of(dataset, n_train, reference, seed)
        known = (found.x, found.y)
        pictures = as_pictures(found.x)
        given = ([pictures.read(i) for i in range(len(pictures))], found.y.numpy())
    base, start = _engine(name, params, device), time.perf_counter()
    fitted = base.fit(_bank(names, questions), given if base.info.needs_reference else None)
    return fitted, time.perf_counter() - start, known, source


def run_cleanse(spec: CleanseSpec, context: Context) -> dict[str, Any]:
    """Ask about every image of the dirty set of ``spec``.

    Result: rates in percent (tpr, fpr, f1, precision, auroc, fnr_at_budget), counts, the engine and what it saw
    beforehand, ``rules``, ``roc``, ``thresholds``, ``subsets``, ``per_question``, ``examples``, ``triggered``, seconds.
    Scores (the higher, the more suspicious), flags, and the probability that each answer is right lie beside it.

    Raises
    ------
    PaperlibError
        What :func:`paperlib.vdc.cleanse.cleanse` says, or a reference that cannot be had.
    """
    device = str(pick_device(context.device))
    scene = scene_of(spec, device, context.store)
    data, dirty = scene.data.to("cpu"), scene.dirty.cpu().numpy()
    if spec.engine == TRUTH:
        kept = {"flagged": torch.from_numpy(dirty), "scores": torch.from_numpy(dirty.astype(np.float32))}
        save_weights(None, context.folder / "weights.safetensors", kept)
        return {"engine": TRUTH, **_counts(dirty, dirty)}
    start = time.perf_counter()
    if spec.engine == ON_FEATURES:
        return _on_features(spec, context, device, data, dirty)
    fitted, fitting, reference, source = _fitted(
        spec.engine, spec.params, device, spec.dataset, spec.n_train, spec.reference, spec.seed, spec.questions
    )
    engine = _Watched(fitted, fitting, len(data) + spec.reference, context.progress)
    questions = _bank(data.class_names, spec.questions)
    report = cleanse(
        data.x,
        data.y,
        data.class_names,
        engine=engine,  # type: ignore[arg-type]
        questions=questions,
        score=spec.score,
        alpha=spec.alpha,
        target_fpr=spec.target_fpr,
        tie=spec.tie,
        reference=reference,
        truth=dirty,
        cache=context.store.root / "answers.sqlite",
    )
    seconds = time.perf_counter() - start
    assert report.rates is not None
    flagged, scores = report.flagged, report.samples["score"].to_numpy()
    tensors = {
        "scores": torch.from_numpy(np.where(np.isfinite(scores), 1 - scores, 0).astype(np.float32)),
        "flagged": torch.from_numpy(flagged.copy()),
        "p": torch.from_numpy(report.asked.p),
    }
    save_weights(None, context.folder / "weights.safetensors", tensors)
    settings = {
        name: report.settings[name] for name in ("engine", "model", "note", "score", "threshold", "target_fpr", "tie")
    }
    return {
        **settings,
        "bank": questions.name,
        "general": len(questions.general),
        "specific": max(len(asked) for asked in questions.specific.values()),
        "reference": spec.reference,
        "reference_percent": round(100 * spec.reference / len(data), 2),
        "reference_source": source,
        **_rounded(asdict(report.rates), ("tpr", "fpr", "f1", "auroc", "fnr_at_budget")),
        **_counts(flagged, dirty),
        "kinds": _kinds(scene, flagged),
        "class_accuracy": _accuracy(report, scene.train),
        "suggestions_right": _suggested(report, scene, questions, flagged & dirty),
        "rules": _rules(report, dirty),
        "roc": _roc(report.asked, dirty),
        "thresholds": _thresholds(report.asked, dirty),
        "subsets": _subsets(report, questions, dirty),
        "per_question": _per_question(report, questions, data, dirty),
        "examples": _examples(report, scene, questions, flagged, dirty),
        "triggered": _triggered(scene),
        "asked": engine.asked,
        "from_cache": report.from_cache,
        "images_per_second": round(engine.timed / engine.seconds, 2) if engine.timed else None,
        "images_per_cpu_second": round(engine.timed / engine.work, 2) if engine.timed and engine.work else None,
        "fitting_seconds": round(engine.fitting, 2),
        "seconds": round(seconds, 2),
    }


def _on_features(
    spec: CleanseSpec, context: Context, device: str, data: ImageData, dirty: np.ndarray
) -> dict[str, Any]:
    """A detector of wrong labels on the embedded engine's features; ``params``: its method, and options of the
    engine."""
    options = dict(spec.params)
    method = str(options.pop("method"))
    engine, start = _engine("embedded", pairs(options), device), time.perf_counter()
    clean, source = reference_of(spec.dataset, spec.n_train, spec.reference, spec.seed)

    def features(images_: ImageData, what: str) -> torch.Tensor:
        pictures, out = as_pictures(images_.x), []
        for i in range(0, len(pictures), 64):
            out.append(engine.features([pictures.read(j) for j in range(i, min(i + 64, len(pictures)))]))
            context.progress(min(1.0, i / len(pictures)), what)
        return torch.cat(out)

    x, known = features(data, "looking at the data"), features(clean.to("cpu"), "looking at the reference")
    seeing, start = time.perf_counter() - start, time.perf_counter()
    scores, flagged, notes = judge(method, x, data.y, known, clean.y.cpu(), data.n_classes, spec.seed)
    tensors = {"scores": torch.from_numpy(scores.astype(np.float32)), "flagged": torch.from_numpy(flagged.copy())}
    save_weights(None, context.folder / "weights.safetensors", tensors)
    rates = scoring.rates(-scores, flagged, dirty)
    return {
        "engine": ON_FEATURES,
        "method": method,
        "model": engine.info.model,
        "reference": spec.reference,
        "reference_source": source,
        **_rounded(asdict(rates), ("tpr", "fpr", "f1", "auroc", "fnr_at_budget")),
        **_counts(flagged, dirty),
        **notes,
        "feature_seconds": round(seeing, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }


def _rounded(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of ``values``, to three digits; what is not a number is None."""
    return {name: round(float(values[name]), 3) if np.isfinite(values[name]) else None for name in names}


def _counts(flagged: np.ndarray, dirty: np.ndarray) -> dict[str, Any]:
    caught = int((flagged & dirty).sum())
    out = {
        "n": len(dirty),
        "n_dirty": int(dirty.sum()),
        "n_flagged": int(flagged.sum()),
        "n_missed": int(dirty.sum()) - caught,
    }
    return {**out, "precision": round(100 * caught / flagged.sum(), 3) if flagged.any() else None}


def _kinds(scene: Scene, flagged: np.ndarray) -> dict[str, dict[str, Any]]:
    """How many samples of each kind of dirt there are, and the share of them that is flagged."""
    poisoned = np.zeros(len(flagged), bool) if scene.poisoned is None else scene.poisoned.mask.cpu().numpy()
    noisy = np.zeros(len(flagged), bool) if scene.noisy is None else scene.noisy.mask.cpu().numpy() & ~poisoned
    found = {"poisoned": poisoned, "noisy": noisy}
    return {
        kind: {"n": int(mask.sum()), "flagged": round(100 * float(flagged[mask].mean()), 3)}
        for kind, mask in found.items()
        if mask.any()
    }


def _accuracy(report: CleanReport, train: ImageData) -> float | None:
    """Share of all images, in percent, whose likeliest class is the true one; None for engines that do not classify."""
    if report.pred_probs is None:
        return None
    return round(100 * float((np.nan_to_num(report.pred_probs).argmax(1) == train.y.cpu().numpy()).mean()), 3)


def _better(report: CleanReport, questions: QuestionBank) -> list[str]:
    return suggestions(report.asked, list(report.samples["label"]), questions)


def _suggested(report: CleanReport, scene: Scene, questions: QuestionBank, caught: np.ndarray) -> float | None:
    """Of the caught samples whose label is wrong, the share in percent for which the suggestion is the true class."""
    wrong = caught & (scene.data.y != scene.train.y).cpu().numpy()
    if not wrong.any():
        return None
    true = [scene.train.class_names[k] for k in scene.train.y.tolist()]
    better = _better(report, questions)
    return round(100 * float(np.mean([better[i] == true[i] for i in np.flatnonzero(wrong)])), 3)


def _at(scores: np.ndarray, alpha: float, tie: str, enough: np.ndarray, dirty: np.ndarray) -> dict[str, Any]:
    found = scoring.rates(scores, scoring.flag(scores, alpha, tie, dirty) & enough, dirty)
    return _rounded(asdict(found), ("tpr", "fpr", "auroc"))


def _rules(report: CleanReport, dirty: np.ndarray) -> list[dict[str, Any]]:
    """Rates under the paper's rule with its three ways to break a tie, and at calibrated thresholds."""
    asked, known, out = report.asked, report.on_reference, []
    enough = scoring.decided(asked.right, asked.n_asked)
    for how in scoring.SCORES:
        scores = scoring.score(asked.right, asked.p, how)
        for tie in scoring.TIES if how == "vote" else ("clean",):
            out.append({"score": how, "alpha": 0.5, "tie": tie, **_at(scores, 0.5, tie, enough, dirty)})
        for target in TARGETS:
            if known is None:
                break
            try:
                alpha = scoring.calibrate(scoring.score(known.right, known.p, how), target)
            except PaperlibError:  # too few reference samples for so small a share
                continue
            rates = _at(scores, alpha, "clean", enough, dirty)
            out.append({"score": how, "alpha": round(alpha, 5), "tie": "clean", "target_fpr": target, **rates})
    return out


def _roc(asked: Asked, dirty: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Score -> false and true positive rates in percent."""
    from sklearn.metrics import roc_curve

    if dirty.all() or not dirty.any():
        return {}
    out = {}
    for how in scoring.SCORES:
        fpr, tpr, _ = roc_curve(dirty, -np.nan_to_num(scoring.score(asked.right, asked.p, how), nan=1.0))
        if len(fpr) > len(CURVE):
            fpr, tpr = CURVE, np.interp(CURVE, fpr, tpr)
        out[how] = {"fpr": (100 * fpr).round(2).tolist(), "tpr": (100 * tpr).round(2).tolist()}
    return out


def _thresholds(asked: Asked, dirty: np.ndarray) -> dict[str, dict[str, list[float | None]]]:
    """Score -> rates in percent over the threshold."""
    enough = scoring.decided(asked.right, asked.n_asked)
    out: dict[str, dict[str, list[float | None]]] = {}
    for how in scoring.SCORES:
        scores = scoring.score(asked.right, asked.p, how)
        rates = [_at(scores, float(alpha), "clean", enough, dirty) for alpha in ALPHAS]
        out[how] = {name: [rate[name] for rate in rates] for name in ("tpr", "fpr")}
    return {"alpha": ALPHAS.round(3).tolist(), **out}  # type: ignore[dict-item]


def _subsets(report: CleanReport, questions: QuestionBank, dirty: np.ndarray) -> list[dict[str, Any]]:
    """Rates with general questions only, specific ones only, and both, by their number."""
    g, s = len(questions.general), report.asked.right.shape[1] - len(questions.general)
    wanted = [(k, 0) for k in range(1, g + 1)] + [(0, k) for k in range(1, s + 1)] + [(g, k) for k in range(1, s + 1)]
    out = []
    for general, specific in wanted:
        columns = [*range(general), *range(g, g + specific)]
        right, p = report.asked.right[:, columns], report.asked.p[:, columns]
        enough = scoring.decided(right, np.minimum(report.asked.n_asked, len(columns)))
        row: dict[str, Any] = {"general": general, "specific": specific}
        row |= _at(scoring.score(right, p, "vote"), 0.5, "clean", enough, dirty)
        scores = scoring.score(right, p, "logit_mean")
        row["auroc_logit_mean"] = _at(scores, 0.5, "clean", enough, dirty)["auroc"]
        if report.on_reference is not None:
            known = report.on_reference
            calibrated = scoring.calibrate(
                scoring.score(known.right[:, columns], known.p[:, columns], "logit_mean"), TARGETS[2]
            )
            rates = _at(scores, calibrated, "clean", enough, dirty)
            row |= {"tpr_calibrated": rates["tpr"], "fpr_calibrated": rates["fpr"]}
        out.append(row)
    return out


def _per_question(
    report: CleanReport, questions: QuestionBank, data: ImageData, dirty: np.ndarray
) -> list[dict[str, Any]]:
    """For every label and question: the share of right answers, in percent, on clean and on dirty samples."""

    def share(values: np.ndarray) -> float | None:
        values = values[np.isfinite(values)]
        return round(100 * float(values.mean()), 2) if len(values) else None

    out, y = [], data.y.numpy()
    for k, label in enumerate(questions.classes):
        for j, question in enumerate(questions.asked(label)):
            right = report.asked.right[:, j]
            clean, wrong = share(right[(y == k) & ~dirty]), share(right[(y == k) & dirty])
            out.append(
                {"label": label, "kind": question.kind, "question": question.text, "clean": clean, "dirty": wrong}
            )
    return out


def _examples(
    report: CleanReport, scene: Scene, questions: QuestionBank, flagged: np.ndarray, dirty: np.ndarray
) -> list[dict[str, Any]]:
    """A few pictures with the reasons: the surest catches, the dirty ones that look cleanest, the surest false
    alarms."""
    scores = np.nan_to_num(report.samples["score"].to_numpy(), nan=1.0)
    groups = {"caught": flagged & dirty, "missed": dirty & ~flagged, "false alarm": flagged & ~dirty}
    better, names = _better(report, questions), scene.train.class_names
    poisoned = np.zeros(len(dirty), bool) if scene.poisoned is None else scene.poisoned.mask.cpu().numpy()
    out = []
    for group, mask in groups.items():
        index = np.flatnonzero(mask)
        order = index[np.argsort(-scores[index] if group == "missed" else scores[index], kind="stable")]
        for i in order[: SHOWN[group]]:
            out.append(
                {
                    "group": group,
                    "kind": "poisoned" if poisoned[i] else "noisy" if dirty[i] else "clean",
                    "label": report.samples["label"].iloc[i],
                    "true": names[int(scene.train.y[i])],
                    "suggested": better[i],
                    "score": round(float(scores[i]), 4),
                    "why": report.samples["why"].iloc[i],
                    "shape": list(scene.data.x.shape[1:]),
                    "picture": packed(scene.data.x[i]),
                }
            )
    return out


def _triggered(scene: Scene, n: int = 1) -> dict[str, Any] | None:
    """The first ``n`` poisoned pictures before and after the trigger."""
    if scene.poisoned is None:
        return None
    index = scene.poisoned.indices[:n]
    return {
        "shape": list(scene.train.x.shape[1:]),
        "before": [packed(image) for image in scene.train.x[index]],
        "after": [packed(image) for image in scene.poisoned.data.x[index]],
        "true": [scene.train.class_names[k] for k in scene.train.y[index].tolist()],
    }
