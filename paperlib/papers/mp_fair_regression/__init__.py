"""Mean Parity Fair Regression in RKHS (AISTATS 2023, arXiv 2302.10409): the experiments and tables of notebook 06.

Nothing is trained here, so ``laptop`` and ``paper`` are the same: the authors' own tables, every trial, the splits that
:mod:`.protocols` recovered. ``smoke`` takes two trials of the synthetic data, and of the stand-in tables of installed
packages. A data set that is not on the machine leaves the printed half.
"""

from paperlib.papers.mp_fair_regression.claims import CLAIMS
from paperlib.papers.mp_fair_regression.items import ITEMS, OURS
from paperlib.papers.mp_fair_regression.readings import READINGS

__all__ = ["CLAIMS", "ITEMS", "OURS", "READINGS"]
