"""The transformers engine: any image-text-to-text model of the ``transformers`` library, on this machine.

The model and its processor are used directly, because a pipeline returns text without probabilities. All specific
questions of a picture go through the model in one padded batch and one forward pass; P(yes) is read off the
distribution of the first answer token,

    P(yes) = sum of P(yes-tokens) / (sum of P(yes-tokens) + sum of P(no-tokens)),

over all spellings of yes and no that are a single token. General questions are answered by greedy decoding.

Recommended models: Qwen3-VL-2B (Apache-2.0) with a GPU, SmolVLM-256M (Apache-2.0) without; the paper's
InstructBLIP-Vicuna-7B needs 31 GB. ``transformers`` is imported only when the engine is made (extra ``vlm``).

Introduced in notebook 01.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from paperlib.errors import PaperlibError
from paperlib.training import autocast, pick_device
from paperlib.vdc.engines.openai_compatible import ONE_WORD
from paperlib.vdc.questions import QuestionBank
from paperlib.vdc.types import Answer, EngineInfo, Picture, Question

SPELLINGS = {
    answer: tuple(f"{space}{form}" for space in ("", " ") for form in (answer, answer.capitalize(), answer.upper()))
    for answer in ("yes", "no")
}


class TransformersEngine:
    """A model and its processor.

    Parameters
    ----------
    model
        Name on the hub or folder, for ``AutoModelForImageTextToText``; or a loaded model, with ``processor``.
    revision
        Commit of the hub's repository; name it to get the same answers next year.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    processor
        Of a loaded model.
    caption_tokens
        Longest answer to a general question.

    Raises
    ------
    PaperlibError
        ``transformers`` is not installed, the model cannot be loaded, has an encoder for the text (Flan-T5), or its
        tokenizer has no token for yes or no.
    """

    def __init__(
        self,
        model: Any,
        *,
        revision: str = "main",
        device: str = "auto",
        processor: Any = None,
        caption_tokens: int = 60,
    ) -> None:
        transformers = transformers_package()
        self.device = pick_device(device)
        with autocast(self.device):
            fast = torch.is_autocast_enabled(self.device.type)
        self.name = model if isinstance(model, str) else type(model).__name__
        if isinstance(model, str):
            try:
                processor = transformers.AutoProcessor.from_pretrained(model, revision=revision)
                model = transformers.AutoModelForImageTextToText.from_pretrained(
                    model, revision=revision, dtype=torch.bfloat16 if fast else torch.float32
                )
            except (OSError, ValueError, ImportError) as error:
                why = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise PaperlibError(f"model={self.name!r} cannot be loaded: {why}") from error
        elif processor is None:
            raise PaperlibError("processor is missing; a loaded model needs its processor.")
        self.model, self.processor, self.revision = model.to(self.device).eval(), processor, revision
        self.caption_tokens = caption_tokens
        if getattr(model.config.get_text_config(), "is_encoder_decoder", False):
            raise PaperlibError(f"model={self.name!r} has an encoder for the text; only decoders can be read so far.")
        self._query_tokens = hasattr(processor, "num_query_tokens")
        self.processor.tokenizer.padding_side = "left"  # so that the last position is the answer's first token
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        self._tokens = {answer: self._single(answer) for answer in SPELLINGS}
        self.info = EngineInfo(
            name="transformers",
            model=f"{self.name} ({revision})",
            license="of the model",
            gives_p_yes=True,
            offline=True,
            at_once=1,  # a picture takes seconds
            note=f"Answers of {self.name}, run on this machine.",
        )

    def _single(self, answer: str) -> list[int]:
        """Tokens that spell the answer on their own."""
        tokenizer = self.processor.tokenizer
        ids = [tokenizer.encode(form, add_special_tokens=False) for form in SPELLINGS[answer]]
        found = sorted({i[0] for i in ids if len(i) == 1 and i[0] != tokenizer.unk_token_id})
        if not found:
            raise PaperlibError(f"model={self.name!r}: its tokenizer has no single token for {answer!r}.")
        return found

    def fit(self, bank: QuestionBank, reference: object = None) -> "TransformersEngine":
        """Nothing to fit: the model reads the questions."""
        return self

    def fingerprint(self) -> str:
        dtype = str(next(self.model.parameters()).dtype)[6:]
        return f"transformers-{self.name}-{self.revision}-{dtype}-{self.caption_tokens}-1"

    def _inputs(self, picture: Picture, texts: Sequence[str]) -> Any:
        image = Image.fromarray(np.ascontiguousarray(picture))
        prompts = []
        for text in texts:
            content = [{"type": "image"}, {"type": "text", "text": text}]
            if getattr(self.processor, "chat_template", None):
                message = [{"role": "user", "content": content}]
                prompts.append(self.processor.apply_chat_template(message, add_generation_prompt=True))
            elif self._query_tokens:  # InstructBLIP's processor makes room for the picture itself
                prompts.append(text)
            else:  # other models from before chat templates
                prompts.append(f"{getattr(self.processor, 'image_token', '') or ''}{text}")
        inputs = self.processor(images=[[image]] * len(texts), text=prompts, padding=True, return_tensors="pt")
        inputs = inputs.to(self.device)
        dtype = next(self.model.parameters()).dtype
        return {k: v.to(dtype) if torch.is_floating_point(v) else v for k, v in inputs.items()}

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Picture], questions: Sequence[Sequence[Question]]) -> list[list[Answer]]:
        """One forward pass per picture for all its specific questions, one decoding for its general ones."""
        out = []
        for picture, asked in zip(pictures, questions, strict=True):
            given: dict[int, Answer] = {}
            specific = [j for j, q in enumerate(asked) if q.kind == "specific"]
            general = [j for j, q in enumerate(asked) if q.kind == "general"]
            if specific:
                inputs = self._inputs(picture, [asked[j].text + ONE_WORD for j in specific])
                if self._query_tokens:  # padding lies between picture and text; positions must not count it
                    inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
                p = self.model(**inputs).logits[:, -1].float().softmax(-1)
                yes, no = (p[:, self._tokens[answer]].sum(1) for answer in ("yes", "no"))
                for j, a, b in zip(specific, yes.tolist(), no.tolist(), strict=True):
                    sure = a / (a + b) if a + b > 0 else 0.5
                    given[j] = Answer("yes" if sure > 0.5 else "no", sure, "logprob")
            if general:
                inputs = self._inputs(picture, [asked[j].text for j in general])
                ids = self.model.generate(**inputs, max_new_tokens=self.caption_tokens, do_sample=False)
                new = ids[:, inputs["input_ids"].shape[1] :] if ids.shape[1] > inputs["input_ids"].shape[1] else ids
                for j, text in zip(general, self.processor.batch_decode(new, skip_special_tokens=True), strict=True):
                    given[j] = Answer(" ".join(text.split()), abstained=not text.strip())
            out.append([given[j] for j in range(len(asked))])
        return out

    def close(self) -> None:
        """Nothing to let go of."""


def transformers_package() -> Any:
    """The package transformers; PaperlibError where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise PaperlibError(
            "engine='transformers' and engine='clip' need the package transformers: pip install 'paperlib[vlm]'."
        ) from None
    return transformers
