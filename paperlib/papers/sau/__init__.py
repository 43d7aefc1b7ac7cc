"""The SAU paper (NeurIPS 2023, arXiv 2307.10562), notebook 02.

Attack setting: 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. Backdoored models
and defenses are those of the benchmark, so that both notebooks share their results. A scale runs a slice;
:func:`whole_grid` plans the paper's main tables in full.

Differences from the paper
1. Single runs; the paper's ablation (Table 6, Figure 3) is a mean of five.
2. Table 5: the ratios between 10 and 50 % and the attacks are ours, and SIG, which cannot poison more than 10 %, is
   left out.
3. Tables 9 and 10: composite adversarial training is not built, for the magnitudes of its perturbations are not
   printed. Two kinds of plain adversarial training are run beside SAU instead.
4. Table 14: CIFAR-5m is not among the data sets; only the row without it is run.
5. Table 22: the meaning of the printed configurations 2 to 5 is not known; ours are others
   (:data:`~paperlib.papers.sau.runs.CONFIGURATIONS`).
6. Table 24: the two targets are not printed; ours are 0 and 1. Images carry one trigger at most, except with attacks
   that poison anew in every batch.
7. Table 26: the setting is not known; ours is 5 % poisoned and 5 % clean images. Table 28: 5 % clean images are ours.
"""

from paperlib.papers.sau.claims import CLAIMS
from paperlib.papers.sau.items import ITEMS, OURS
from paperlib.papers.sau.readings import READINGS
from paperlib.papers.sau.runs import whole_grid

__all__ = ["CLAIMS", "ITEMS", "OURS", "READINGS", "whole_grid"]
