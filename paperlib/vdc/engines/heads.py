r"""Softmax regression on features: the head of the embedded engine.

.. math:: \min_{W, b} \; \frac1n \sum_i -\sum_k t_{ik} \log \mathrm{softmax}(W f_i + b)_k + \frac{\lambda}{2} \|W\|^2

with targets :math:`t_i`, a class or a distribution over the classes. Introduced in notebook 01.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor


@dataclass(frozen=True)
class Head:
    """Hyper-parameters of the head."""

    weight_decay: float = 0.1
    """The factor lambda; features have unit variance."""
    iterations: int = 100
    """Of L-BFGS."""
    folds: int = 5
    """Reference pictures are answered by heads fitted on the other folds."""


def fit_head(features: Tensor, target: Tensor, classes: int, config: Head) -> tuple[Tensor, Tensor]:
    """Weight (D, C) and bias (C,) from standardised features (n, D) and targets: classes (n,) or distributions (n,
    C)."""
    x = features.double().numpy()
    n, d = x.shape
    wanted = np.eye(classes)[target.numpy()] if target.ndim == 1 else target.double().numpy()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = parameters[:-classes].reshape(d, classes), parameters[-classes:]
        logits = x @ weight + bias
        log_p = logits - logsumexp(logits, axis=1, keepdims=True)
        value = -(log_p * wanted).sum() / n + config.weight_decay / 2 * (weight**2).sum()
        error = (np.exp(log_p) - wanted) / n
        return value, np.concatenate([(x.T @ error + config.weight_decay * weight).ravel(), error.sum(0)])

    start = np.zeros((d + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": config.iterations}).x
    weight, bias = torch.from_numpy(found).float().split([d * classes, classes])
    return weight.view(d, classes), bias
