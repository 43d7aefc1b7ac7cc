"""Engines: who answers the questions. A plain dict of light records; importing it loads no model and no torch."""

from typing import TYPE_CHECKING, Any

from paperlib.errors import choose
from paperlib.registry import Method

if TYPE_CHECKING:
    from paperlib.vdc.types import VQAEngine

ENGINES: dict[str, Method] = {
    "embedded": Method("paperlib.vdc.engines.embedded", "EmbeddedEngine", "Embedded (EfficientNet-Lite0)"),
    "openai": Method("paperlib.vdc.engines.openai_compatible", "OpenAIEngine", "OpenAI-compatible endpoint"),
    "transformers": Method("paperlib.vdc.engines.transformers_vlm", "TransformersEngine", "Transformers model"),
    "clip": Method("paperlib.vdc.engines.clip", "CLIPEngine", "CLIP"),
    "replay": Method("paperlib.vdc.engines.replay", "ReplayEngine", "Replay"),
    "oracle": Method("paperlib.vdc.engines.oracle", "OracleEngine", "Oracle"),
}

TRUTH = "truth"
"""No engine: in experiments, the one that flags exactly what is dirty."""
ON_FEATURES = "on_features"
"""No engine: in experiments, a detector of wrong labels (``params``: method) on the features of the embedded engine."""


def engine(name: str, **options: Any) -> "VQAEngine":
    """An engine by name, with the options of its class.

    Raises
    ------
    PaperlibError
        Unknown name, or what the engine itself refuses.
    """
    return ENGINES[choose("engine", name, ENGINES)].load()(**options)
