"""The VDC paper (arXiv 2309.16211): items and claims of notebook 01.

``runs`` says which experiments there are, ``items`` what is drawn from them, ``tables``, ``figures`` and ``claims``
how. Four of the paper's tables are published to us, 384 values; they stand beside ours. Of the others nothing but their
subject is known.

Differences from the paper
1. The multimodal model. At smoke and laptop scale the embedded engine answers: ImageNet features with a head fitted on
   clean labelled reference images. The paper's InstructBLIP needs none; our numbers are no evidence for the paper's.
   The paper scale plans InstructBLIP itself, which needs a GPU.
2. The threshold. With a reference it is set for 10 % false alarms, on the mean logit of the answers; the paper's rule
   (vote below 0.5) is reported beside it.
3. A tie at 0.5 is clean. The authors' code breaks ties by the ground truth; ``ties`` shows what that is worth.
4. The questions are ours: as many as the paper's (2 general, 4 per class on CIFAR-10), in our words.
5. Below paper scale the baselines look into the benchmark's classifiers: 10 % poisoned, drawn from all classes,
   PreAct-ResNet18. VDC is shown on the paper's 9 % and on these sets.
6. ImageNet-100 and ImageNet-Dog are not among our data sets; their tables show the printed half.
7. Training on the cleaned set follows the scale's schedule; the paper's network is a ResNet-18, 100 epochs with two
   steps.
"""

from paperlib.papers.vdc.claims import CLAIMS
from paperlib.papers.vdc.items import ITEMS, OURS

__all__ = ["CLAIMS", "ITEMS", "OURS"]
