"""Tables of VDC's settings and questions: what is asked, how the attacks and trainings are set."""

from collections.abc import Mapping

import pandas as pd

from paperlib.papers import Results, captions
from paperlib.papers.vdc import runs
from paperlib.papers.vdc.runs import ETA, LOW, NOISE, PAPER, data, engine, got, name_of, number
from paperlib.papers.vdc.tables import artefact_of, named_table
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import NotRun
from paperlib.report.published import published_hyperparameters


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
        f"Good and poor questions: the 5 best and the 8 worst of {len(ranked)} by how much more often they are answered"
        f" right on clean than on dirty samples ({name_of(str(name))}, {100 * NOISE:g} %). {data(results.scale)}"
        f" Engine: {engine(result)}."
    )
    notes = [
        f"Mean difference in points: {', '.join(f'{kind} questions {value:.1f}' for kind, value in means.items())}. In"
        " percent."
    ]
    return named_table(results, "questions", rows, caption, notes, frame)


# --------------------------------------------------------------------------------------------------------- settings


def _settings(results: Results, id_: str, title: str, words: str, ours: Mapping[str, str]) -> Artefact:
    """The known settings in which one of ``words`` occurs, and ours."""
    frame = published_hyperparameters(PAPER).rename(columns={"setting": "item", "scope": "dataset"})
    found = frame[frame.item.str.contains(words)].drop(columns=["paper", "component"])
    shown = found.rename(
        columns={"item": "Setting", "dataset": "Data set", "value": "The paper", "status": "How it is known"}
    ).drop(columns="source")
    notes = [f"Ours at {results.scale.name} scale, {name}: {value}." for name, value in ours.items()]
    html = tables.to_html(shown, title, notes=notes)
    return artefact_of(results, id_, "table", caption=title, frame=found, html=html)


def table_attack_settings(results: Results) -> Artefact:
    """Data sets, dirt and questions as far as they are known, and ours."""
    triggers = ", ".join(style.title("attack", a) for a in runs.TRIGGERS[results.scale.plans])
    ours = {
        "data": captions.images(results.scale),
        "triggers": f"{triggers} with the benchmark's settings",
        "poisoned": f"{100 * ETA:g} % and {100 * LOW:g} %, the same number from every class but the target",
        "noise": f"{100 * NOISE:g} %, symmetric and asymmetric",
    }
    words = "trigger|classes|per class|per non-target|target|noise|SIG|questions"
    title = "Data sets, dirt and questions of the paper, as far as they are known"
    return _settings(results, "table_attack_settings", title, words, ours)


def table_training_settings(results: Results) -> Artefact:
    """How the paper trains on the cleaned set, and how we do."""
    scale = results.scale
    schedule = scale.schedule.replace("_", " ")
    ours = {
        "network": f"PreAct-ResNet18 of width {scale.width}",
        "training": f"{scale.epochs} epochs, batch {scale.batch_size}, learning rate {scale.lr:g}, {schedule}",
        "engine": runs.ENGINE[scale.plans]["engine"],
    }
    title = "Training on the cleaned set and the paper's models, as far as they are known"
    return _settings(results, "table_training_settings", title, "retraining|MLLM|LLM|decoding|threshold|tie rule", ours)


OURS_ONLY = "The wording is ours; the paper's text is not reproduced."


def table10(results: Results) -> Artefact:
    """Our general questions."""
    from paperlib.vdc.questions import bank

    rows = [
        {"Bank": name, "General question (ours)": question.text}
        for name in ("cifar10", "digits", "template")
        for question in bank(name, ("airplane",) if name == "cifar10" else ("0",)).general
    ]
    note = "The answer to each is a description; it is right when it names the label."
    return named_table(results, "table10", rows, f"Table 10. General questions. {OURS_ONLY}", [note])


def _specific(results: Results, id_: str, name: str, what: str, request: str) -> Artefact:
    """The label-specific questions of a bank, with a request to a chat model below."""
    from paperlib.vdc.questions import FOLDER, from_file

    found = from_file(FOLDER / f"{name}.yaml")
    rows = [
        {"Label": label, "Question (ours)": question.text, "About": question.attribute,
        "Right answer": question.expected,
         "True of": ", ".join(sorted(found.attributes.get(question.attribute, ())))}
        for label, asked in found.specific.items()
        for question in asked
    ]  # fmt: skip
    caption = f"Table {id_.removeprefix('table')}. Label-specific questions for {what}. {OURS_ONLY}"
    return named_table(results, id_, rows, caption, [f"Our request to a chat model {request}"])


def table11(results: Results) -> Artefact:
    """Our label-specific questions for CIFAR-10, and the request that would have a chat model suggest more."""
    from paperlib.vdc.questions import REQUEST

    return _specific(results, "table11", "cifar10", "CIFAR-10", f"for more: {REQUEST}")


def table12(results: Results) -> Artefact:
    """Our label-specific questions for digits, and the request with which a chat model judges a description."""
    from paperlib.vdc.judges import REQUEST

    return _specific(results, "table12", "digits", "digits", f"that judges a description: {REQUEST}")
