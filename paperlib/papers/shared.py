"""The old name of :mod:`paperlib.papers.captions`."""

from paperlib.papers.captions import (
    PRINTED_DATASETS,
    REACTIVATION,
    artefact,
    device_of,
    devices,
    images,
    stand_ins,
    where,
)

__all__ = ["PRINTED_DATASETS", "REACTIVATION", "artefact", "device_of", "devices", "images", "stand_ins", "where"]
