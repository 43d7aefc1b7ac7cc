"""The oracle: an engine that knows the true class of every picture and lies at a stated rate. For tests and for theory.

It bounds what any engine can reach with a bank, and shows what errors of an engine do to TPR and FPR: each answer is
turned into a wrong one with probability ``noise``, decided by a digest of picture, question and seed, so that the
answer to the same question stays the same.

Introduced in notebook 01.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from paperlib.errors import PaperlibError
from paperlib.vdc import posterior
from paperlib.vdc.questions import QuestionBank, with_article
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question, picture_key


class OracleEngine:
    """Answers from the truth.

    Parameters
    ----------
    truth
        Picture key (:func:`paperlib.vdc.types.picture_key`) -> true class name.
    noise
        Share of wrong answers, in [0, 1].
    refusals
        Share of questions that are refused, in [0, 1].
    seed
        Of the draw.
    """

    def __init__(self, truth: Mapping[str, str], *, noise: float = 0.0, refusals: float = 0.0, seed: int = 0) -> None:
        for argument, value in (("noise", noise), ("refusals", refusals)):
            if not 0 <= value <= 1:
                raise PaperlibError(f"{argument}={value!r} must lie in [0, 1].")
        self.truth, self.noise, self.refusals, self.seed = dict(truth), noise, refusals, seed
        self.info = EngineInfo(
            name="oracle",
            model=f"ground truth, {noise:.0%} of the answers wrong",
            license="none",
            gives_p_yes=False,
            offline=True,
            note="The oracle knows the true classes: its results say what a perfect or a noisy engine would reach.",
        )
        self._bank: QuestionBank | None = None

    def fit(self, bank: QuestionBank, reference: object = None) -> "OracleEngine":
        """A copy that knows of which classes each attribute of ``bank`` is true."""
        engine = OracleEngine(self.truth, noise=self.noise, refusals=self.refusals, seed=self.seed)
        engine._bank = bank
        return engine

    def fingerprint(self) -> str:
        known = hashlib.sha256(repr(sorted(self.truth.items())).encode()).hexdigest()[:12]
        return f"oracle-{self.noise}-{self.refusals}-{self.seed}-{known}"

    def _draw(self, *parts: str) -> float:
        """A number in [0, 1) that depends on nothing but the parts and the seed."""
        digest = hashlib.sha256("\n".join((str(self.seed), *parts)).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """True answers, except for the share ``noise``."""
        if self._bank is None:
            raise posterior.not_fitted("oracle")
        out = []
        for picture, asked in zip(pictures, questions, strict=True):
            key = picture_key(picture)
            out.append([self._one(key, question) for question in asked])
        return out

    def _one(self, key: str, question: Question) -> Answer:
        assert self._bank is not None
        true = self.truth.get(key)
        attribute = self._bank.attributes.get(question.attribute)
        unknown = true is None or (question.kind == "specific" and attribute is None)
        if unknown or self._draw("refuse", key, question.key) < self.refusals:
            return Answer("", abstained=True)
        lies = self._draw("lie", key, question.key) < self.noise
        if question.kind == "specific":
            return Answer("yes" if (true in (attribute or ())) != lies else "no")
        others = [c for c in self._bank.classes if c != true]
        if lies and others:
            true = others[int(np.floor(self._draw("which", key, question.key) * len(others)))]
        return Answer(f"A photo of {with_article(str(true))}.")

    def close(self) -> None:
        """Nothing to let go of."""
