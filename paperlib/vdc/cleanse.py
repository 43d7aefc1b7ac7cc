"""``cleanse``: pictures and labels in, a ranked list of dirty samples with the reasons out.

Zhu et al., "VDC", ICLR 2024 (arXiv 2309.16211), Section 3: questions, answers, evaluation, vote. The decision rules are
in :mod:`paperlib.vdc.scoring`, and what differs from the paper is listed in each stage's file. ::

    report = cleanse(images, labels, class_names, engine="embedded",
                     reference=(clean_images, clean_labels), target_fpr=0.1)
    report.dirty            # positions, the most suspicious first
    report.to_html("report/index.html")

What it cannot do: a sample whose picture agrees with its label (clean-label attacks) looks clean to any engine.

Introduced in notebook 01.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from paperlib.errors import PaperlibError, choose
from paperlib.vdc import judges, noise, scoring
from paperlib.vdc.asking import Asked, Policy, Price, ask
from paperlib.vdc.cache import AnswerCache
from paperlib.vdc.engines import engine as engine_by_name
from paperlib.vdc.folder import Decision
from paperlib.vdc.judges import LexicalJudge
from paperlib.vdc.noise import Noise
from paperlib.vdc.pictures import Pictures, Unreadable, as_pictures
from paperlib.vdc.questions import QuestionBank, bank, listed
from paperlib.vdc.report import CleanReport
from paperlib.vdc.types import Question, TextJudge, VQAEngine

DONE = {"keep": "kept", "fix": "fixed", "remove": "removed"}
RIGHT = "right"
"""The score of engines that classify: the probability that the label is right."""
Reference = tuple[Any, Any]
"""(images, labels) that are known to be right."""


def cleanse(
    images: Any,
    labels: Any,
    class_names: Sequence[str],
    *,
    engine: VQAEngine | str = "embedded",
    questions: QuestionBank | str | Path = "auto",
    judge: TextJudge | str = "lexical",
    score: str = "",
    alpha: float | None = None,
    target_fpr: float | None = None,
    tie: str = "clean",
    reference: Reference | None = None,
    truth: Any = None,
    decisions: Mapping[str, Decision] | None = None,
    cache: AnswerCache | Path | str | None = None,
    policy: Policy | None = None,
    price: Price | None = None,
) -> CleanReport:
    """Find samples whose picture does not agree with their label.

    Parameters
    ----------
    images
        uint8 tensor (N, C, H, W), uint8 array (N, H, W, C), or a list of N paths.
    labels
        N class names, or N integers that are positions in ``class_names``. A name that is not in ``class_names`` is
        reported as an unknown label, not asked about.
    class_names
        The classes, as the questions should call them.
    engine
        A name of :data:`paperlib.vdc.engines.ENGINES` that needs no further option, or an engine.
    questions
        ``auto``, the name of a bank, a YAML file, or a bank.
    judge
        ``lexical``, ``embedding``, or a judge.
    score
        ``vote`` (the paper's), ``mean_p``, ``logit_mean``, or ``right``: the probability that the label is right
        (:mod:`paperlib.vdc.noise`), for engines that classify. Default: ``right`` for the embedded engine unless
        ``alpha`` is given; otherwise ``logit_mean`` with ``target_fpr``, else ``vote``.
    alpha
        Threshold in [0, 1]: dirty below it. Default: the suggested cut with ``right``, else 0.5, the paper's.
    target_fpr
        Choose the threshold such that this share of clean samples is flagged, in (0, 1): on ``reference``, or, with
        ``right`` and without reference, as the model of the noise expects it.
    tie
        A score equal to the threshold: ``clean``, ``dirty``, or ``paper-code`` (looks at ``truth``).
    reference
        Images and labels of clean samples: for the threshold, and for engines that learn. Never necessary for the
        embedded engine, which learns from the labels as they are.
    truth
        N bools, True: dirty. Where it is known, the report counts TPR, FPR and AUROC. Never used to decide, but by
        ``tie="paper-code"``.
    decisions
        Name of a sample -> what a person decided (:func:`paperlib.vdc.folder.read_decisions`): it is not asked about;
        what is kept or fixed is a right label to engines that learn.
    cache
        File (or open cache) of answers; with it, a stopped run goes on, and no question is asked twice.
    policy, price
        How to ask, and what it costs.

    Raises
    ------
    PaperlibError
        Bad arguments, before anything is asked; an endpoint that refuses or is down; a spend limit.
    """
    pictures = as_pictures(images)
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise PaperlibError(f"class_names={class_names!r} must be a list of names.")
    names = tuple(map(str, class_names))
    given = _label_names(labels, names, len(pictures))
    for argument, value in (("alpha", alpha), ("target_fpr", target_fpr)):
        if value is not None and not isinstance(value, Real):
            raise PaperlibError(f"{argument}={value!r} must be a number, for example 0.5.")
        if value is not None and not (0 <= value <= 1 if argument == "alpha" else 0 < value < 1):
            bounds = "in [0, 1], such as 0.5" if argument == "alpha" else "strictly between 0 and 1, such as 0.1"
            raise PaperlibError(f"{argument}={value!r} must lie {bounds}.")
    if target_fpr is not None and alpha is not None:
        raise PaperlibError(f"alpha={alpha!r} and target_fpr={target_fpr!r} both set the threshold; give one of them.")
    choose("score", score or "vote", (*scoring.SCORES, RIGHT))
    choose("tie", tie, scoring.TIES)
    dirty = None if truth is None else np.asarray(truth, dtype=bool)
    if dirty is not None and dirty.shape != (len(given),):
        raise PaperlibError(f"truth has shape {dirty.shape}; it must be one bool for each of the {len(given)} samples.")
    if tie == "paper-code" and dirty is None:
        raise PaperlibError("tie='paper-code' looks at the ground truth; give truth, or use tie='clean' or 'dirty'.")
    asked_bank = questions if isinstance(questions, QuestionBank) else bank(questions, names)
    chosen_judge = judges.judge(judge, asked_bank) if isinstance(judge, str) else judge

    known = None if reference is None else (as_pictures(reference[0]), reference[1])
    known_names = [] if known is None else _label_names(known[1], names, len(known[0]))
    for name in known_names:
        choose("reference label", name, names)
    model = engine_by_name(engine) if isinstance(engine, str) else engine
    policy = policy or Policy()
    decided = {i: d for i in range(len(given)) if decisions and (d := decisions.get(pictures.name(i))) is not None}
    model = _fit(model, asked_bank, known, known_names, (pictures, given), decided, policy.progress)
    if not score:
        score = RIGHT if model.info.cross_fitted and alpha is None else "vote" if target_fpr is None else "logit_mean"
    if score == RIGHT and not model.info.classifies:
        raise PaperlibError(
            f"score={score!r} needs an engine that classifies, such as 'embedded'; {model.info.name!r} only answers."
        )
    if target_fpr is not None and reference is None and score != RIGHT:
        raise PaperlibError(f"target_fpr={target_fpr!r} needs clean samples to choose the threshold; give reference.")
    store = cache if isinstance(cache, AnswerCache) else AnswerCache(cache)
    try:
        on_reference = None
        if known is not None:
            on_reference = ask(known[0], known_names, asked_bank, model, chosen_judge, store, policy, price)
        skip = {i: DONE[decision.what] for i, decision in decided.items()}
        asked = ask(pictures, given, asked_bank, model, chosen_judge, store, policy, price, skip)
    finally:
        if not isinstance(cache, AnswerCache):
            store.close()
    rule = _decide(asked, given, on_reference, known_names, names, score, alpha, target_fpr)
    return _report(pictures, given, asked_bank, model, asked, on_reference, rule, target_fpr, tie, dirty, decided)


def _fit(
    model: Any,
    asked: QuestionBank,
    known: tuple[Pictures, Any] | None,
    names: Sequence[str],
    given: tuple[Pictures, Sequence[str]],
    decided: Mapping[int, Decision],
    progress: bool,
) -> VQAEngine:
    """The engine as it knows the classes: those that learn see the labels as they are, and the reference."""
    if not model.info.needs_reference:
        return model.fit(asked, None)
    columns = {name: k for k, name in enumerate(asked.classes)}
    clean, names = [], list(names)
    for i in range(len(names)):
        assert known is not None
        try:
            clean.append(known[0].read(i))
        except Unreadable as error:
            raise PaperlibError(f"reference picture {known[0].name(i)} is unreadable: {error}.") from error
    labels = np.array([columns.get(name, -1) for name in given[1]])
    for i, decision in decided.items():
        label = decision.label if decision.what == "fix" else given[1][i]
        labels[i] = -1
        with suppress(Unreadable):
            if decision.what != "remove" and label in columns:
                clean.append(given[0].read(i))
                names.append(label)
    reference = (clean, np.array([columns[name] for name in names])) if clean else None
    return model.fit(asked, reference, (given[0], labels), progress)


@dataclass(frozen=True)
class _Rule:
    """Scores (N,), low: suspicious, the threshold below which a sample is dirty, and what is known about the noise."""

    scores: np.ndarray
    score: str
    threshold: float
    noise: Noise | None = None


def _decide(
    asked: Asked,
    labels: Sequence[str],
    on_reference: Asked | None,
    reference_labels: Sequence[str],
    classes: Sequence[str],
    score: str,
    alpha: float | None,
    target_fpr: float | None,
) -> _Rule:
    if score != RIGHT:
        threshold = 0.5 if alpha is None else float(alpha)
        if target_fpr is not None and on_reference is not None:
            threshold = scoring.calibrate(scoring.score(on_reference.right, on_reference.p, score), target_fpr)
        return _Rule(scoring.score(asked.right, asked.p, score), score, threshold)
    if asked.classes is None:
        raise PaperlibError("no picture could be judged: none is readable, or no class has two pictures.")
    columns = {name: k for k, name in enumerate(classes)}

    def rows(some: Asked, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert some.classes is not None
        sure = np.isfinite(some.classes).all(1)
        y = np.array([columns.get(name, 0) for name in names])
        return np.log(some.classes[sure] + 1e-7), y[sure], sure

    log_p, y, sure = rows(asked, labels)
    found = noise.estimate(log_p, y)
    cut = found.cut if alpha is None else 1 - alpha
    if target_fpr is not None and on_reference is not None:
        clean_p, clean_y, _ = rows(on_reference, reference_labels)
        cut = 1 - scoring.calibrate(1 - found.of(clean_p, clean_y), target_fpr)
    elif target_fpr is not None:
        cut = found.cut_for(target_fpr)
    scores = np.full(len(labels), np.nan)
    scores[sure] = 1 - found.wrong
    return _Rule(scores, score, 1 - cut, found.at(cut))


def _label_names(labels: Any, classes: tuple[str, ...], n: int) -> list[str]:
    """The class name that each sample carries."""
    if len(set(classes)) != len(classes) or not classes:
        raise PaperlibError(f"class_names={list(classes)[:5]} must be distinct names, at least one.")
    if labels is None or isinstance(labels, str):
        raise PaperlibError(
            f"labels={labels!r} must be a list of class names or of their positions, one for each image."
        )
    if hasattr(labels, "tolist"):
        labels = labels.tolist()
    labels = list(labels)
    if len(labels) != n:
        raise PaperlibError(f"labels has {len(labels)} entries for {n} images; there must be one for each.")
    if n == 0:
        raise PaperlibError("images is empty; there is nothing to clean.")
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        if min(labels) < 0 or max(labels) >= len(classes):
            raise PaperlibError(
                f"labels run from {min(labels)} to {max(labels)}; they must lie in 0 to {len(classes) - 1}."
            )
        return [classes[label] for label in labels]
    names = list(map(str, labels))
    if not set(names) & set(classes):
        raise PaperlibError(f"labels such as {names[0]!r} are none of class_names ({', '.join(classes[:5])}, ...).")
    return names


def suggestions(asked: Asked, labels: Sequence[str], questions: QuestionBank) -> list[str]:
    """A likelier label for each sample, empty where there is none: the engine's likeliest class, or else the one class
    that its descriptions name."""
    out = []
    classes = questions.classes
    if asked.classes is not None:
        best = np.where(np.isnan(asked.classes), -1, asked.classes).argmax(1)
        heard = np.isfinite(asked.classes).all(1)
        return [
            classes[k] if ok and classes[k] != label else "" for k, ok, label in zip(best, heard, labels, strict=True)
        ]
    reader = LexicalJudge(questions.synonyms)
    for captions, label in zip(asked.captions, labels, strict=True):
        text = ". ".join(captions)
        named = (
            [c for c, v in zip(classes, reader.same_object([text] * len(classes), classes), strict=True) if v]
            if text
            else []
        )
        out.append(named[0] if len(named) == 1 and named[0] != label else "")
    return out


def _reason(asked: Asked, i: int, label: str, questions: QuestionBank) -> str:
    """Why a sample has its score, in one line: the two classes in question, or the distinct questions it failed."""
    if asked.classes is not None and np.isfinite(asked.classes[i]).all():
        p, own, best = asked.classes[i], questions.classes.index(label), int(asked.classes[i].argmax())
        said = f"{questions.classes[own]} {100 * p[own]:.3g} %"
        return said if best == own else f"{questions.classes[best]} {100 * p[best]:.3g} %, {said}"
    failed = dict.fromkeys(questions.asked(label)[j].text for j in np.flatnonzero(asked.right[i] == 0))
    heard = dict.fromkeys(filter(None, asked.captions[i]))
    return " · ".join([*(f"“{text}”" for text in heard), *(["No to: " + " ".join(failed)] if failed else [])])


def _report(
    pictures: Pictures,
    labels: Sequence[str],
    questions: QuestionBank,
    model: VQAEngine,
    asked: Asked,
    on_reference: Asked | None,
    rule: _Rule,
    target_fpr: float | None,
    tie: str,
    truth: np.ndarray | None,
    decided: Mapping[int, Decision],
) -> CleanReport:
    import pandas as pd

    scores, score, threshold = rule.scores, rule.score, rule.threshold
    enough = scoring.decided(asked.right, asked.n_asked)
    flagged = scoring.flag(scores, threshold, tie, truth) & enough
    status = np.where(flagged, "dirty", np.where(enough, "clean", "undecided")).astype(object)
    for i, problem in enumerate(asked.problems):
        if problem:
            known = problem.startswith("unreadable") or i in decided
            status[i] = problem.split(":")[0] if known else "unknown label"
    better = suggestions(asked, labels, questions)
    why = []
    for i, label in enumerate(labels):
        wrong = np.flatnonzero(asked.right[i] == 0)
        why.append(asked.problems[i] or "; ".join(questions.asked(label)[j].text for j in wrong))
    samples = pd.DataFrame(
        {
            "name": [pictures.name(i) for i in range(len(labels))],
            "label": list(labels),
            "status": status,
            "score": scores,
            "suggested_label": [
                decided[i].label if i in decided else name if flag else ""
                for i, (name, flag) in enumerate(zip(better, flagged, strict=True))
            ],
            "n_asked": asked.n_asked,
            "n_answered": np.isfinite(asked.right).sum(1),
            "why": why,
            "reason": [asked.problems[i] or _reason(asked, i, label, questions) for i, label in enumerate(labels)],
            "descriptions": [" | ".join(filter(None, captions)) for captions in asked.captions],
        }
    )
    samples.insert(0, "position", np.arange(len(labels)))
    settings: dict[str, Any] = {
        "engine": model.info.name,
        "model": model.info.model,
        "note": model.info.note,
        "fingerprint": model.fingerprint(),
        "questions": questions.name,
        "score": score,
        "threshold": threshold,
        "target_fpr": target_fpr,
        "tie": tie,
        "reference_samples": 0 if on_reference is None else len(on_reference.problems),
    }
    if rule.noise is not None:
        settings |= rule.noise.settings()
    settings["reference_share_percent"] = round(100 * settings["reference_samples"] / len(labels), 2)
    usage = asked.usage if on_reference is None else asked.usage + on_reference.usage
    return CleanReport(
        samples=samples,
        per_question=_per_question(asked, on_reference, labels, questions, truth),
        settings=settings,
        usage=usage,
        from_cache=asked.from_cache + (on_reference.from_cache if on_reference else 0),
        errors=asked.errors,
        rates=None if truth is None else scoring.rates(scores, flagged, truth),
        pred_probs=asked.classes,
        asked=asked,
        pictures=pictures,
        classes=questions.classes,
        on_reference=on_reference,
    )


def _per_question(
    asked: Asked, on_reference: Asked | None, labels: Sequence[str], questions: QuestionBank, truth: np.ndarray | None
) -> Any:
    """One row per question: how often it was asked, answered, answered right; and with the truth, what it is worth."""
    import pandas as pd

    names = np.asarray(labels, dtype=object)
    rows: list[Mapping[str, Any]] = []

    def share(values: np.ndarray) -> float:
        values = values[np.isfinite(values)]
        return float(100 * values.mean()) if len(values) else float("nan")

    for label in questions.classes:
        mine = names == label
        for j, question in enumerate(questions.asked(label)):
            right = asked.right[mine, j]
            row = {
                "label": label,
                "kind": question.kind,
                "question": question.text,
                "asked": int((asked.n_asked[mine] > j).sum()),
                "answered": int(np.isfinite(right).sum()),
                "right_percent": share(right),
            }
            if truth is not None:
                row |= {
                    "right_on_clean_percent": share(right[~truth[mine]]),
                    "right_on_dirty_percent": share(right[truth[mine]]),
                }
            rows.append(row)
    table = pd.DataFrame(rows)
    if truth is not None:  # 50: as good as a coin
        table["accuracy_percent"] = (table["right_on_clean_percent"] + 100 - table["right_on_dirty_percent"]) / 2
    return table


# ------------------------------------------------------------------------------------------------------------ captions

CAPTION_QUESTIONS = (
    'Does this sentence describe the picture correctly: "{caption}"?',
    'Is everything that this sentence mentions in the picture: "{caption}"?',
    'Would "{caption}" be a fitting title for this picture?',
)
CAPTION_REQUEST = (
    'A photo is supposed to fit the sentence "{caption}". Write {n} short questions about the photo that have the'
    " answer yes if it does; together they should cover every thing, number, colour and relation that the sentence"
    " mentions. Reply with a JSON list of strings, nothing else."
)


def caption_bank(captions: Sequence[str], chat: Callable[[str], str] | None = None, n: int = 4) -> QuestionBank:
    """Questions for each distinct caption: from templates, or ``n`` from a chat model (text in, text out).

    Raises
    ------
    PaperlibError
        An empty caption, or a reply that is no list of questions in three tries.
    """
    distinct = tuple(dict.fromkeys(map(str, captions)))
    specific = {}
    for caption in distinct:
        if not caption.strip():
            raise PaperlibError("captions holds an empty one; every picture needs its sentence.")
        texts = [template.format(caption=caption) for template in CAPTION_QUESTIONS]
        if chat is not None:
            for _ in range(3):
                if texts := listed(chat(CAPTION_REQUEST.format(caption=caption, n=n)))[:n]:
                    break
            else:
                raise PaperlibError(
                    f"the model's reply for {caption!r} was no JSON list of questions, three times over."
                )
        specific[caption] = tuple(Question(text) for text in texts)
    return QuestionBank("captions", distinct, (), specific)


def cleanse_pairs(
    images: Any,
    captions: Sequence[str],
    *,
    engine: VQAEngine,
    chat: Callable[[str], str] | None = None,
    n: int = 4,
    **options: Any,
) -> CleanReport:
    """Find pictures that do not agree with their caption.

    Parameters
    ----------
    images
        As :func:`cleanse` takes them.
    captions
        N sentences.
    engine
        One that reads: an endpoint or a transformers model.
    chat, n
        As :func:`caption_bank` takes them.
    options
        Of :func:`cleanse`: ``score``, ``alpha``, ``cache``, ``policy``, ``price``, ``truth``, ...

    Raises
    ------
    PaperlibError
        As :func:`cleanse`; an engine that recognises classes instead of reading.
    """
    if engine.info.name in ("embedded", "clip"):
        raise PaperlibError(f"engine={engine.info.name!r} recognises classes and reads no sentences; use an endpoint.")
    captions = list(map(str, captions))
    questions = caption_bank(captions, chat, n)
    return cleanse(images, captions, questions.classes, engine=engine, questions=questions, **options)
