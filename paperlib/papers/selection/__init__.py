"""The LPS paper (arXiv 2307.07328): items and claims of notebook 03.

Setting: target class 0, PreAct-ResNet18 as surrogate and as victim, small poisoning ratios. None of the paper's numbers
is available to us, so nothing is compared with print; the paper's statements are checked on our results. ``runs`` says
which experiments there are, ``items`` what is drawn from them, ``tables``, ``figures`` and ``claims`` how.
"""

from paperlib.papers.selection.claims import CLAIMS
from paperlib.papers.selection.items import ITEMS, OURS
from paperlib.papers.selection.readings import READINGS

__all__ = ["CLAIMS", "ITEMS", "OURS", "READINGS"]
