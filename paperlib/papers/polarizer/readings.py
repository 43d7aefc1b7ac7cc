"""Sentences below items of the NPD paper, each made from the numbers that were drawn."""

from collections.abc import Callable

import pandas as pd

from paperlib.papers.reading import listed

STAND_INS = {"targeted": "targeted at y'", "known": "targeted at T", "untargeted": "untargeted"}


def fig4(frame: pd.DataFrame) -> str:
    """Whether a perturbation is a stand-in: nearer to the triggered image than the clean one is."""
    far = frame.set_index("kind").distance
    texts = [f"{said} {far[name]:.1f}" for name, said in STAND_INS.items()]
    nearer = [said for name, said in STAND_INS.items() if far[name] < far["clean"]]
    return (
        f"Distance to the features of the triggered image: clean image {far['clean']:.1f}, {', '.join(texts)}. Nearer"
        f" than the clean image: {', '.join(nearer) or 'none'}."
    )


def our_estimate(frame: pd.DataFrame) -> str:
    """How often the target is guessed, and whether that goes with what is left."""
    shares = frame.set_index("Attack")
    guessed = shares["y' = T (%)"].sort_values(ascending=False)
    near = (shares["distance y'"] > shares["distance T"]).sum()
    return (
        f"Share of images whose runner-up is T: {listed(guessed, 0)} (a guess among nine classes has 11 %). Known, T's"
        f" perturbation is nearer to the trigger than that of y' in {near} of {len(shares)} models."
    )


def table9(frame: pd.DataFrame) -> str:
    """NPD's place among the defenses that were timed."""
    seconds = frame.set_index("Defense").Seconds.dropna()
    if "NPD" not in seconds or len(seconds) < 2:
        return ""
    faster = (seconds.drop("NPD") < seconds["NPD"]).sum()
    return f"NPD takes {seconds['NPD']:.0f} s here; {faster} of {len(seconds) - 1} other defenses take less."


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {"fig4": fig4, "our_estimate": our_estimate, "table9": table9}
"""Item -> from the frame that it was drawn from to what it says."""
