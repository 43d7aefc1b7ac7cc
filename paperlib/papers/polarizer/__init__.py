"""The NPD paper (NeurIPS 2023, arXiv 2306.16697), notebook 04.

Attack setting: eight attacks, 10 % poisoning, target class 0, PreAct-ResNet18; the defender holds 5 % clean images. A
scale runs a slice of it, on the same models as the benchmark's own runs; the paper scale plans all of it.

The paper's average DER is the DER of the average ACC and ASR; the mean of the DERs, SAU's rule, stands beside it.

Differences from the paper
1. Single runs; the paper prints means of five.
2. The loss terms of Table 3's rows are our reading: only the last row's label is certain.
3. Table 5's ratios and Figure 3's attacks are not known; ours are stated. Figure 3 counts places before a convolution
   of the main branch; the shortcut of the block goes round the polarizer, as in the paper's default place.
4. Table 15's places are not named; ours are in :data:`~paperlib.papers.polarizer.runs.PLACES`. Inception-V3 is not
   among the models.
5. How the attackers of Table 7 train is not printed; ours do as those of SAU's paper
   (:func:`paperlib.experiments.plan.adversarially`).
6. Table 9 also times every other defense of the registry, with seconds of this scale.
"""

from paperlib.papers.polarizer.claims import CLAIMS
from paperlib.papers.polarizer.items import ITEMS, OURS
from paperlib.papers.polarizer.readings import READINGS

__all__ = ["CLAIMS", "ITEMS", "OURS", "READINGS"]
