"""The FT-SAM paper (ICCV 2023, arXiv 2304.11823), notebook 05.

Attack setting: ten attacks, 10 % poisoning (5 % in Figures 4, 5 and 7), target class 0, PreAct-ResNet18; the defender
holds 5 % clean images. A small scale runs a slice of every table; the paper scale plans all of it.
"""

from paperlib.papers.ft_sam.claims import CLAIMS
from paperlib.papers.ft_sam.items import ITEMS, OURS
from paperlib.papers.ft_sam.readings import READINGS

__all__ = ["CLAIMS", "ITEMS", "OURS", "READINGS"]
