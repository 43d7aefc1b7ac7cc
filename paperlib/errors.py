"""One error type for everything a person can get wrong, and the sentence it says."""

from collections.abc import Iterable
from difflib import get_close_matches


class PaperlibError(ValueError):
    """A mistake in what was asked: one sentence that names the argument, the value, and what would be right."""


class DataMissing(PaperlibError):
    """A data set is not on this machine and could not be fetched."""


class NotApplicable(PaperlibError):
    """The method does not exist for this model, e.g. pruning of batch-norm channels without batch norm; "NA" in
    tables."""


def choose(argument: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``known``; otherwise say the nearest match and the whole list.

    Raises
    ------
    PaperlibError
        ``value`` is not in ``known``.
    """
    names = sorted(known)
    if value in names:
        return value
    near = get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise PaperlibError(f"{argument}={value!r} is unknown; {hint}Known: {', '.join(names) or 'none'}.")
