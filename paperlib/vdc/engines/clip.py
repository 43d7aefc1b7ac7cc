r"""The CLIP engine: which class name fits the picture best.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021 (arXiv 2103.00020):
with unit vectors of picture v and of the text t_c = "a photo of a <class>",
:math:`P(c) = \mathrm{softmax}_c(\tau\, v^\top t_c)`, :math:`\tau` the model's own temperature. Answers follow from the
class probabilities as for the embedded engine (:mod:`paperlib.vdc.posterior`). No labelled picture is needed.
``transformers`` is imported only when the engine is made (extra ``vlm``).

Introduced in notebook 01.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from PIL import Image

from paperlib.errors import PaperlibError
from paperlib.training import pick_device
from paperlib.vdc import posterior
from paperlib.vdc.engines.transformers_vlm import transformers_package
from paperlib.vdc.questions import QuestionBank, with_article
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question


class CLIPEngine:
    """A CLIP-style model (``AutoModel`` with picture and text features, such as CLIP or SigLIP).

    Parameters
    ----------
    model
        Name on the hub or folder; or a loaded model, with ``processor``.
    revision, device, processor
        As for :class:`paperlib.vdc.engines.transformers_vlm.TransformersEngine`.

    Raises
    ------
    PaperlibError
        ``transformers`` is not installed, or the model cannot be loaded.
    """

    def __init__(self, model: Any, *, revision: str = "main", device: str = "auto", processor: Any = None) -> None:
        transformers = transformers_package()
        self.device = pick_device(device)
        self.name = model if isinstance(model, str) else type(model).__name__
        if isinstance(model, str):
            try:
                processor = transformers.AutoProcessor.from_pretrained(model, revision=revision)
                model = transformers.AutoModel.from_pretrained(model, revision=revision)
            except (OSError, ValueError) as error:
                raise PaperlibError(f"model={self.name!r} cannot be loaded: {str(error).splitlines()[0]}") from error
        elif processor is None:
            raise PaperlibError("processor is missing; a loaded model needs its processor.")
        self.model, self.processor, self.revision = model.to(self.device).eval(), processor, revision
        self.info = EngineInfo(
            name="clip",
            model=f"{self.name} ({revision})",
            license="of the model",
            gives_p_yes=True,
            classifies=True,
            offline=True,
            note=f"{self.name} compares pictures with class names; it reads no question.",
        )
        self._bank: QuestionBank | None = None

    def fit(self, bank: QuestionBank, reference: object = None) -> "CLIPEngine":
        """A copy that knows the class names of ``bank``."""
        engine = copy(self)
        engine._bank = bank
        return engine

    def fingerprint(self) -> str:
        if self._bank is None:
            raise posterior.not_fitted("clip")
        return f"clip-{self.name}-{self.revision}-{posterior.declared(self._bank)}"

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """Answers from the class probabilities; abstains where the bank declares no attribute."""
        if self._bank is None:
            raise posterior.not_fitted("clip")
        texts = [f"a photo of {with_article(label)}" for label in self._bank.classes]
        images = [Image.fromarray(np.ascontiguousarray(picture)) for picture in pictures]
        inputs = self.processor(text=texts, images=images, padding=True, return_tensors="pt").to(self.device)
        classes = self.model(**inputs).logits_per_image.float().softmax(1).cpu().numpy()
        return posterior.answers(classes, self._bank, questions)

    def close(self) -> None:
        """Nothing to let go of."""
