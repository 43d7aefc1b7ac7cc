"""Linear algebra and robust statistics that several detectors share, and what they ask of the clean subset."""

import torch
from torch import Tensor

from paperlib.data.images import ImageData
from paperlib.errors import PaperlibError

MAD_SCALE = 1.4826
"""Times the median absolute deviation: the standard deviation of a Gaussian."""


def anomaly_index(values: Tensor, floor: float = 0.0) -> Tensor:
    r"""How far each of K values lies **above** their median, in robust standard deviations; below it: 0.

    .. math:: J^*_t = \max\Big(0,\; \frac{J_t - \mathrm{median}(J)}{1.4826\, \mathrm{median}|J -
       \mathrm{median}(J)|}\Big)

    A median deviation below ``floor`` counts as ``floor``. With a deviation of zero a value above the median has index
    infinity, unless it is above by rounding only.
    """
    above = values.double() - values.double().quantile(0.5)
    deviation = MAD_SCALE * above.abs().quantile(0.5).clamp_min(floor)
    above = torch.where(above > 1e-9 * values.abs().max().double(), above, 0.0)
    return torch.where(above > 0, above / deviation, 0.0).float()


def principal_directions(centred: Tensor, k: int) -> Tensor:
    """The k right singular vectors (d, k) of centred data (n, d) with the largest singular values, largest first.

    From the eigenvectors of the smaller of the two Gram matrices, in float64; a sign is fixed (largest entry positive),
    so the result is the same on every machine. k is cut to min(n, d).
    """
    x = centred.double()
    n, d = x.shape
    k = min(k, n, d)
    if d <= n:
        vectors = torch.linalg.eigh(x.T @ x).eigenvectors[:, -k:].flip(1)
    else:
        vectors = torch.linalg.qr(x.T @ torch.linalg.eigh(x @ x.T).eigenvectors[:, -k:].flip(1)).Q
    sign = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    return (vectors * torch.where(sign == 0, 1.0, sign)).float()


def budget(class_size: int, n: int, share: float, ratio: float) -> int:
    """How many samples of one class a detector with a fixed budget removes.

    Parameters
    ----------
    class_size, n
        Samples of the class, and of the whole training set.
    share
        Share of the class; used when ``ratio`` is 0.
    ratio
        The poisoning ratio, if the detector is told: 1.5 x ratio x n, rounded down, but at most half of the class.

    Raises
    ------
    PaperlibError
        ``share`` or ``ratio`` is not in [0, 1].
    """
    for name, value in (("share", share), ("ratio", ratio)):
        if not 0 <= value <= 1:
            raise PaperlibError(f"{name}={value!r} is no share; it must lie in [0, 1].")
    return min(int(1.5 * ratio * n + 1e-9), class_size // 2) if ratio else round(share * class_size)


def top(scores: Tensor, k: int) -> Tensor:
    """(n,) bool: the k largest of the scores."""
    chosen = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    chosen[scores.topk(k).indices] = True
    return chosen


def check_classes(clean: ImageData, y: Tensor, at_least: int = 1) -> None:
    """Say which class of the suspicious labels ``y`` has too few clean images.

    Raises
    ------
    PaperlibError
        A class of ``y`` has fewer than ``at_least`` images in ``clean``.
    """
    length = max(int(y.max()), int(clean.y.max())) + 1
    few = (y.bincount(minlength=length) > 0) & (clean.y.bincount(minlength=length) < at_least)
    if few.any():
        classes = ", ".join(str(k) for k in few.nonzero().flatten().tolist())
        raise PaperlibError(f"clean has fewer than {at_least} image(s) of class {classes}; give at least that many.")
