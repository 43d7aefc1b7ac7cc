"""The VDC paper (arXiv 2309.16211): tables, figures and claims of notebook 01."""

from paperlib.papers.vdc_runs import *  # noqa: F403
