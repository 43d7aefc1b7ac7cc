"""Answers from class probabilities, for engines that look but do not read.

Three engines recognise the class instead of reading the question: the embedded one, its taxonomy mode, and CLIP. What
they know is P(class | picture), and the bank declares of which classes each attribute is true. So

    P(yes to "is it / does it have a?") = sum over the classes c that have a of P(c | picture).

A general question is answered with a sentence
that names the likeliest class. A question about nothing that the bank declares is not answered: the engine abstains.

Introduced in notebook 01.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from paperlib.errors import PaperlibError
from paperlib.vdc.questions import QuestionBank, with_article
from paperlib.vdc.types import Answer, Question


def truth_table(bank: QuestionBank, attributes: Sequence[str]) -> np.ndarray:
    """Bool (C, A): whether attribute a is true of class c."""
    return np.array([[label in bank.attributes[a] for a in attributes] for label in bank.classes], bool).reshape(
        len(bank.classes), len(attributes)
    )


def answers(classes: np.ndarray, bank: QuestionBank, questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
    """Answers to ``questions[i]`` from the class probabilities ``classes[i]``.

    Parameters
    ----------
    classes : (B, C)
        Probabilities in the order of ``bank.classes``; they add up to 1. A row with nan: cannot be judged, no answer.
    """
    used = sorted({q.attribute for asked in questions for q in asked if q.attribute in bank.attributes})
    columns = dict(zip(used, (classes @ truth_table(bank, used)).clip(0, 1).T, strict=True))
    best = classes.argmax(1)
    out = []
    for i, asked in enumerate(questions):
        caption = f"A photo of {with_article(bank.classes[best[i]])}."
        row = tuple(classes[i].tolist())
        given = []
        for question in asked:
            if np.isnan(classes[i]).any():
                given.append(Answer("", abstained=True))
            elif question.kind == "general":
                given.append(Answer(caption, None, "score", classes=row))
            elif question.attribute in columns:
                p = float(columns[question.attribute][i])
                given.append(Answer("yes" if p > 0.5 else "no", p, "score"))
            else:
                given.append(Answer("", abstained=True))
        out.append(given)
    return out


def declared(bank: QuestionBank) -> str:
    """Digest of what the bank declares about its classes: part of these engines' fingerprints."""
    table = bank.classes, sorted((attribute, sorted(true_of)) for attribute, true_of in bank.attributes.items())
    return hashlib.sha256(repr(table).encode()).hexdigest()[:12]


def not_fitted(engine: str) -> PaperlibError:
    """The error of an engine that is asked before it knows the classes."""
    return PaperlibError(f"engine={engine!r} does not know the classes yet; call fit(bank, reference) first.")
