"""What the parts of VDC hand to each other: questions, answers, what was used up, and the protocols of engines and
judges.

A picture is a uint8 array (H, W, 3), RGB. It is known by :func:`picture_key`, a digest of its pixels, so that the same
picture in two folders, two formats or two attacks is asked about once.

Introduced in notebook 01.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from paperlib.errors import PaperlibError

Picture = np.ndarray
"""uint8, (H, W, 3), RGB."""
Kind = Literal["general", "specific"]
Mode = Literal["logprob", "score", "text"]


def picture_key(picture: Picture) -> str:
    """SHA-256 of size and pixels, 64 hex digits."""
    digest = hashlib.sha256(np.asarray(picture.shape[:2], dtype="<u4").tobytes())
    digest.update(np.ascontiguousarray(picture, dtype=np.uint8).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Question:
    """One question about a picture.

    A *general* question asks for a description, and is answered right if the description names the label. A *specific*
    question is answered by yes or no, and is answered right by ``expected``.
    """

    text: str
    kind: Kind = "specific"
    expected: str = "yes"
    """``yes`` or ``no``; unused for general questions."""
    attribute: str = ""
    """What it is about (a class name, ``wings``), for engines that know attributes instead of reading text."""
    lang: str = "en"

    @property
    def key(self) -> str:
        """Digest of what an engine is asked; what the right answer would be is not part of it."""
        return hashlib.sha256(f"{self.kind}\n{self.lang}\n{self.text}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Usage:
    """What was used up. Adds up with ``+``."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    """0 where no price was given."""
    seconds: float = 0.0
    """Sum over calls; calls that ran side by side all count."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Answer:
    """One answer of an engine."""

    text: str
    p_yes: float | None = None
    """Probability of yes in [0, 1]; None where the engine gives words only."""
    mode: Mode = "text"
    """Where ``p_yes`` comes from: the first token's distribution, a score of the engine, or nowhere."""
    abstained: bool = False
    """A refusal, an empty answer, or a question the engine cannot judge: it counts neither as right nor as wrong."""
    classes: tuple[float, ...] = ()
    """Probability of each class, where the engine classifies; general questions only."""
    usage: Usage = field(default=Usage(), compare=False)


@dataclass(frozen=True)
class EngineInfo:
    """What a report says about the engine that answered."""

    name: str
    model: str
    license: str
    gives_p_yes: bool
    offline: bool
    """No picture leaves the machine."""
    needs_reference: bool = False
    """Must see a clean, labelled subset first: then the result is not training-free."""
    classifies: bool = False
    """Its answers to general questions carry a probability of each class."""
    cross_fitted: bool = False
    """Its class probabilities come from heads fitted on the labels that are being judged, none of which saw the
    picture."""
    concurrent: bool = False
    """Waits for others (a network): several calls may run side by side."""
    at_once: int = 0
    """Local engines: pictures per call, after which the answers are stored; 0: a whole batch of :class:`Policy`."""
    note: str = ""
    """A sentence that is printed with every result."""


class VQAEngine(Protocol):
    """Answers questions about pictures."""

    info: EngineInfo

    def fingerprint(self) -> str:
        """Everything that an answer depends on besides picture and question: model, revision, precision, prompt."""
        ...

    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """Answers to ``questions[i]`` about ``pictures[i]``; all questions of a picture come together, so that a local
        model looks once."""
        ...

    def close(self) -> None:
        """Let go of connections and memory."""
        ...


class TextJudge(Protocol):
    """Decides whether a description and a label name the same thing."""

    usage: Usage

    def fingerprint(self) -> str:
        """Everything that a verdict depends on besides the two texts."""
        ...

    def same_object(self, captions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
        """Probability in [0, 1] that caption i names label i; None: cannot tell."""
        ...


def as_picture(array: np.ndarray) -> Picture:
    """A picture from grey, RGB or RGBA pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8.

    Raises
    ------
    PaperlibError
        Another type or shape.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise PaperlibError(f"a picture is {array.dtype} of shape {array.shape}; it must be uint8, (H, W, 3).")
    if array.ndim == 2:
        array = array[:, :, None]
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
