"""Whether a run collapsed: then its numbers are no measurement of the method, and enter no average and no verdict.

Training that diverges stops with an error of its own; what is left are models that say the same of every image, or no
more than chance.
"""

import numpy as np

ONE_CLASS = 0.9
"""Share of the predictions that one class has in a collapsed model; more where the test set itself is nearly of one
class."""


def reason(pred: np.ndarray, y: np.ndarray) -> str:
    """Why a classifier with predictions ``pred`` (N,) of labels ``y`` (N,) has collapsed; empty: it has not.

    One class has at least :data:`ONE_CLASS` of the predictions, and half of the way from its largest true share to all
    of them; or the mean recall over the classes is at most two standard errors above what guessing with the same shares
    would give, 1 / classes. Both say nothing about a classifier that is only weak, or about a test set whose classes
    differ in size.
    """
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        return ""
    said, times = np.unique(pred, return_counts=True)
    share, commonest = times.max() / len(pred), counts.max() / len(y)
    if share >= max(ONE_CLASS, (1 + commonest) / 2):
        return f"class {said[times.argmax()]} is {100 * share:.0f} % of its predictions"
    recall = np.array([(pred[y == c] == c).mean() for c in classes])
    guessed = np.array([(pred == c).mean() for c in classes])
    error = np.sqrt((guessed * (1 - guessed) / counts).sum()) / len(classes)
    if recall.mean() <= 1 / len(classes) + 2 * error:
        return f"a mean recall of {100 * recall.mean():.1f} % over {len(classes)} classes is chance"
    return ""
