"""The replay engine: answers from a file that another engine's run left behind. No model, no network, no cost.

``AnswerCache.export`` writes the file. Whoever has it and the pictures can repeat every score, threshold and table.

Introduced in notebook 01.
"""

from collections.abc import Sequence
from pathlib import Path

from paperlib.errors import PaperlibError
from paperlib.vdc.cache import read_export
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, picture_key


class ReplayEngine:
    """Answers from an exported cache; abstains where the file holds none.

    Parameters
    ----------
    answers
        A ``.jsonl.gz`` file that :meth:`paperlib.vdc.cache.AnswerCache.export` wrote.
    fingerprint
        Whose answers, when the file holds several engines'.

    Raises
    ------
    PaperlibError
        No such file, none of its rows are of that engine, or several engines and none named.
    """

    def __init__(self, answers: Path | str, *, fingerprint: str = "") -> None:
        rows = dict(read_export(answers))
        engines = sorted({engine for _, _, engine in rows if not engine.startswith("judge-")})
        if fingerprint not in engines and (fingerprint or len(engines) != 1):
            raise PaperlibError(
                f"fingerprint={fingerprint!r}: {str(answers)!r} holds answers of {', '.join(engines) or 'no engine'};"
                " name one."
            )
        self._fingerprint = fingerprint or engines[0]
        self._answers = {(p, q): answer for (p, q, engine), answer in rows.items() if engine == self._fingerprint}
        self.info = EngineInfo(
            name="replay",
            model=self._fingerprint,
            license="of the answers",
            gives_p_yes=any(answer.p_yes is not None for answer in self._answers.values()),
            classifies=any(answer.classes for answer in self._answers.values()),
            offline=True,
            note=f"Replayed: the answers were given earlier by {self._fingerprint}.",
        )

    def fit(self, bank: QuestionBank, reference: object = None) -> "ReplayEngine":
        """Nothing to fit."""
        return self

    def fingerprint(self) -> str:
        """Of the engine that answered, so that its cached answers are found too."""
        return self._fingerprint

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """The recorded answers."""
        out = []
        for picture, asked in zip(pictures, questions, strict=True):
            key = picture_key(picture)
            out.append([self._answers.get((key, q.key), Answer("", abstained=True)) for q in asked])
        return out

    def close(self) -> None:
        """Nothing to let go of."""
