"""BackdoorBench (NeurIPS 2022, arXiv 2206.12654): items and claims of notebook 07.

``runs`` has the printed leaderboard, 8,000 cells of C-Acc, ASR and R-Acc (``paperlib/published/SOURCES.md`` says where
they come from and which errors they are known to hold), and what each scale runs of it; ``items`` what is drawn,
``tables``, ``figures`` and ``claims`` how. What is drawn from the leaderboard has no experiments and is the same at
every scale, and the claims are checked on the printed numbers.

Differences from the paper
1. The numbers are those of the public leaderboard of June 2022. Axes and count equal the paper's grid; that every
   printed cell equals its cell on the leaderboard could not be checked.
2. The layout of tables and figures is ours. Numbers of figures and columns of Tables 1 and 2 are inferred where a
   caption says so.
3. Collapsed cells (C-Acc at most the share of the largest class) and copied ones are marked and enter no mean.
4. Means are over the attacks that have a proper result; their number is shown. LC is in them although its cells are
   known to be wrong, so that they stay means of what was printed.
5. The effect of the architecture is shown at 10 % on CIFAR-10, the overview at 5 %.
6. The hyper-parameters are our defaults, read from our code; the printed ones are not available to us.
7. t-SNE, quick learning, forgetting and altered triggers are shown for PreAct-ResNet18 on CIFAR-10 and the attacks
   Blended and BadNets, because the paper's choice is not known. GSNR is left out of quick learning.
8. The visual panels are the paper's (Tiny ImageNet, 5 %, five networks, without and with AC) at paper scale only; below
   it they show one network on the data set of the scale at 10 %. Shapley values are those of pixels, not of the last
   block.
"""

from paperlib.papers.benchmark.claims import CLAIMS, CLAIMS_ON
from paperlib.papers.benchmark.items import ITEMS, OURS
from paperlib.papers.benchmark.readings import READINGS
from paperlib.papers.benchmark.runs import board, means, whole_grid

__all__ = ["CLAIMS", "CLAIMS_ON", "ITEMS", "OURS", "READINGS", "board", "means", "whole_grid"]
