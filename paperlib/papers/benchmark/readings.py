"""Sentences below the tables and figures of the benchmark, each made from the numbers that were drawn.

A mean is over the attacks that have a proper result. Of our own runs an attack that was not learned says nothing.
"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from paperlib.papers.benchmark import runs
from paperlib.papers.benchmark.runs import DEFENSES
from paperlib.papers.defense_table import LEARNED
from paperlib.papers.reading import beside_print, listed, span
from paperlib.report import style


def _defenses(values: pd.Series) -> pd.Series:
    return values.rename(lambda name: style.title("defense", str(name)))


def board(frame: pd.DataFrame) -> str:
    """One data set, network and ratio of the leaderboard."""
    mean, proper = runs.means(frame, ["defense"]), frame[frame.status == ""]
    if not {"none", "ft"} <= set(mean.index):
        return ""
    asr = _defenses(mean.ASR.drop("none").sort_values())
    ft = proper[proper.defense == "ft"].set_index("attack").ASR.rename(lambda name: style.title("attack", str(name)))
    counts = mean.n.astype(int)
    over = f"{counts.min()} to {counts.max()}" if counts.nunique() > 1 else str(counts.iloc[0])
    return (
        f"Mean ASR over {over} attacks: undefended {mean.ASR['none']:.1f}; {listed(asr)}. A mean hides single attacks:"
        f" FT leaves {span(ft)}."
    )


def cifar10(frame: pd.DataFrame) -> str:
    """The table of CIFAR-10: what LC and SIG do to accuracy, too."""
    acc = frame[frame.status == ""].pivot(index="attack", columns="defense", values="ACC")
    won = [
        f"{style.title('attack', name)} {acc.none[name]:.1f} and {acc.ft[name]:.1f}"
        for name in ("lc", "sig")
        if acc.loc[name, ["none", "ft"]].notna().all()
    ]
    return (
        f"{board(frame)} LC and SIG poison *every* image of the target class at this ratio; C-Acc without a defense and"
        f" after FT: {'; '.join(won)}."
    )


def blocks(by: str, name: Callable[[Any], str]) -> Callable[[pd.DataFrame], str]:
    """A table with a block for each value of the column ``by``."""

    def made(frame: pd.DataFrame) -> str:
        mean = runs.means(frame, [by, "defense"]).ASR
        texts = []
        for value, one in mean.groupby(level=by, sort=False):
            after = one.droplevel(by)
            texts.append(f"{name(value)}: undefended {after['none']:.1f}, {span(_defenses(after.drop('none')))}")
        return f"Mean ASR, undefended and after the best and the worst defense. {'; '.join(texts)}."

    return made


def ratios(frame: pd.DataFrame) -> str:
    """The table of ratios: also which attack the network has not learned at the lowest."""
    least = frame[(frame.ratio == frame.ratio.min()) & (frame.defense == "none") & (frame.ASR < LEARNED)]
    names = least.set_index("attack").ASR.rename(lambda name: style.title("attack", str(name))).sort_values()
    found = f" Not learned at {100 * frame.ratio.min():g} %, undefended: {listed(names, 2)}." if len(names) else ""
    return f"{blocks('ratio', lambda value: f'{100 * value:g} %')(frame)}{found}"


def overview(frame: pd.DataFrame) -> str:
    """How many defended networks are at the left, and what a low ASR can cost."""
    proper = frame[(frame.status == "") & (frame.defense != "none")]
    low = proper[proper.ASR < 10]
    counts = [
        f"{(low.dataset == name).sum()} of {(proper.dataset == name).sum()} on {style.title('dataset', str(name))}"
        for name in dict.fromkeys(frame.dataset)
    ]
    at: Any = (low["ACC"] + low["R-ACC"]).idxmin()
    worst = low.loc[at]
    best = style.title("defense", str(low.defense.value_counts().idxmax()))
    return (
        f"Defended networks with an ASR below 10: {', '.join(counts)}; most of them through {best}. A low ASR alone"
        f" says little: {style.title('defense', worst.defense)} brings {style.title('attack', worst.attack)} on"
        f" {style.title('dataset', worst.dataset)} to {worst.ASR:.1f}, at a C-Acc of {worst.ACC:.1f} and an R-Acc of"
        f" {worst['R-ACC']:.1f}."
    )


def over_ratios(frame: pd.DataFrame) -> str:
    """Which mean curves fall from 5 to 10 %, and which grow; over the attacks that have a result at all five ratios."""
    whole, texts = runs.curves(frame), []
    for model, part in whole.groupby(level="model", sort=False):
        mean: Any = part.groupby(level="defense", sort=False).mean()
        move = {
            style.title("defense", str(name)): (f" {row[0.05]:.1f} to {row[0.1]:.1f}", row[0.1] < row[0.05])
            for name, row in mean.drop("none").iterrows()
        }
        down, up = (
            ", ".join(f"{name}{text * want}" for name, (text, falls) in move.items() if falls == want)
            for want in (True, False)
        )
        title = f"{style.title('model', str(model))}: " if whole.index.get_level_values("model").nunique() > 1 else ""
        none = f"undefended {mean.loc['none', 0.001]:.1f} at 0.1 % and {mean.loc['none', 0.1]:.1f} at 10 %"
        still = f", and does not after {up}" if up else ""
        texts.append(f"{title}{none}; from 5 to 10 % it falls after {down or 'no defense'}{still}")
    return f"Mean ASR, {'. '.join(texts)}."


def architecture(frame: pd.DataFrame) -> str:
    """The defenses whose mean depends most on the network."""
    mean = runs.means(frame, ["defense", "model"]).ASR.unstack().reindex(DEFENSES)
    titled: Any = mean.rename(columns=lambda name: style.title("model", str(name)))
    rows = titled.drop("none")
    far = (rows.max(axis=1) - rows.min(axis=1)).nlargest(3).index
    texts = [f"{style.title('defense', str(name))} {span(rows.loc[name].dropna(), ' on ')}" for name in far]
    return (
        f"Mean ASR undefended: {span(titled.loc['none'], ' on ')}. The defenses that depend most on the network:"
        f" {'; '.join(texts)}."
    )


def our_attacks(frame: pd.DataFrame) -> str:
    """Which attacks were learned."""
    rates = frame.set_index("Attack")
    yes, no = (rates[rates.Learned == word].ASR.sort_values(ascending=False) for word in ("yes", "no"))
    text = f"Learned, with their ASR: {listed(yes)}." if len(yes) else "No attack was learned here."
    if len(no):
        text += f" Not learned (an ASR below {LEARNED:g}), so without a say about defenses: {listed(no)}."
    least: Any = rates["C-Acc"].idxmin()
    return f"{text} The lowest C-Acc is that under {least}, {rates['C-Acc'][least]:.1f}."


def our_input_aware(frame: pd.DataFrame) -> str:
    """What each change does, and how far the ASR swings."""
    first, *others = frame.to_dict("records")
    more = pd.Series({row["Change"]: row["ASR"] for row in others}, dtype=float).sort_values(ascending=False)
    text = f"{first['Change'].capitalize()} the ASR is {first['ASR']:.1f}"
    swing = frame["Highest"] - frame["Lowest ASR of the last 5 epochs"]
    return (
        f"{text}{f'; with a change: {listed(more)}' if len(more) else ''}. Within the last five epochs it swings by"
        f" {swing.min():.0f} to {swing.max():.0f} points, so no single row decides."
    )


def our_datasets(frame: pd.DataFrame) -> str:
    """Undefended and after each defense."""
    texts = []
    for (data, attack), part in frame.groupby(["Data set", "Attack"], sort=False):
        asr = part.set_index("Defense").ASR
        if "none" not in asr:
            continue
        if asr["none"] < LEARNED:
            texts.append(f"{data}: {attack} was not learned (ASR {asr['none']:.1f})")
        else:
            after = listed(asr.drop("none").sort_values())
            texts.append(f"{data}, {attack}: ASR {asr['none']:.1f} undefended{f'; {after}' if after else ''}")
    return f"{'. '.join(texts)}." if texts else ""


def our_defenses(frame: pd.DataFrame) -> str:
    """Beside print, the cells of learned attacks that agree and those that do not."""
    undefended = frame[(frame.metric == "ASR") & (frame.defense == "none")]
    if not (undefended.ours >= LEARNED).any():
        return f"No attack has an undefended ASR of {LEARNED:g} or more here: nothing is said about a defense."
    return beside_print(frame)


def our_repetition(frame: pd.DataFrame) -> str:
    """How far one cell can be repeated."""
    rows: Any = frame.set_index("Defense")
    far = rows["ASR, largest"].idxmax()
    texts = [
        f"{'undefended' if name == 'none' else f'after {name}'} {row['ASR, median']:.1f} and {row['ASR, mean']:.1f}"
        for name, row in rows[rows.Cells >= 10].iterrows()
    ]
    printed = rows["ASR, mean between two papers"].drop("none", errors="ignore").dropna()
    text = f"Median and mean distance in ASR: {'; '.join(texts)}. " if texts else ""
    text += f"The largest is {rows.loc[far, 'ASR, largest']:.1f} points, {far} under {rows.loc[far, 'under']}."
    if len(printed):
        text += f" Between two papers the mean distance is: {listed(printed)}."
    return f"{text} *Single cells of such tables are not results; means over attacks are closer to one.*"


def our_seeds(frame: pd.DataFrame) -> str:
    """Means and standard deviations over seeds."""
    texts = []
    for attack, part in frame.groupby("Attack", sort=False):
        each = [
            f"{'undefended' if row.Defense == 'none' else row.Defense} {row['Mean ASR']:.1f}"
            + ("" if pd.isna(row.SD) else f" ± {row.SD:.1f}")
            for _, row in part.iterrows()
        ]
        texts.append(f"{attack}: {', '.join(each)}")
    return f"Mean ASR ± standard deviation over seeds. {'. '.join(texts)}."


def our_detectors(frame: pd.DataFrame) -> str:
    """The best scores, and scores that are better than their threshold."""
    texts = []
    for (attack, share), part in frame.groupby(["Attack", "Poisoned (%)"], sort=False):
        auroc = part.set_index("Detector").AUROC.dropna()
        if auroc.empty:
            continue
        missed = part[(part.AUROC >= 90) & (part.TPR < 50)].Detector.tolist()
        turned = part[part.AUROC < 40].Detector.tolist()
        text = f"{attack} at {share:g} %: highest AUROC {auroc.idxmax()} {auroc.max():.1f}"
        text += f"; AUROC of 90 and more, but less than half of the poison flagged: {', '.join(missed)}" * bool(missed)
        text += f"; AUROC below 40, poison looks the *more* ordinary: {', '.join(turned)}" * bool(turned)
        texts.append(text)
    return f"{'. '.join(texts)}." if texts else ""


def our_ratio(frame: pd.DataFrame) -> str:
    """Whether FT's curve falls where the paper's does."""
    texts = []
    for attack, part in frame.groupby("attack", sort=False):
        wide = part.pivot(index="ratio", columns="defense", values="ours").reindex(columns=["none", "ft"])
        learned = wide[wide.none >= LEARNED]
        title = style.title("attack", str(attack))
        if learned.empty:
            texts.append(f"{title} is learned at none of the ratios that were run")
            continue
        text = f"{title} is learned from {100 * learned.index[0]:g} % on"
        ft: Any = learned.ft.dropna()
        if len(ft) > 1:
            moved = "falls" if ft.iloc[-1] < ft.max() else "does not fall"
            values = ", ".join(f"{value:.1f} at {100 * ratio:g} %" for ratio, value in ft.items())
            text += f"; after FT the ASR is {values}: it {moved} at the highest ratio"
        texts.append(text)
    return f"{'. '.join(texts)}."


def our_ranks(frame: pd.DataFrame) -> str:
    """The widest and the narrowest rank."""
    texts = []
    for source, part in frame.groupby("source", sort=False):
        width = part.high - part.low
        far = part.iloc[[int(width.argmax()), int(width.argmin())]]
        said = [
            f"{style.title('defense', row.defense)} {row.low:g} to {row.high:g} (rank {row.rank:g})"
            for row in far.itertuples()
        ]
        texts.append(f"{source}: the longest bar {said[0]}, the shortest {said[1]}")
    return f"Ranks, {'; '.join(texts)}."


def our_conclusions(frame: pd.DataFrame) -> str:
    """How many statements would mostly survive."""
    true = frame[frame["In print"] == "holds"]
    sure = (true["Survives (%)"] >= 95).sum()
    at: Any = frame["Survives (%)"].idxmin()
    least = frame.loc[at]
    return (
        f"{len(true)} of {len(frame)} statements hold in print, {sure} of them in at least 95 % of the drawn"
        f' repetitions. The least sure: "{least.Statement}", {least["Survives (%)"]} %.'
    )


def quick_learning(frame: pd.DataFrame) -> str:
    """After which epoch half of each group is right."""
    texts = []
    for attack, part in frame.groupby("attack", sort=False):
        said = []
        for group in ("poisoned", "clean"):
            half = part.epoch[part[f"acc_{group}"] >= 50]
            said.append(f"{group} samples {f'after epoch {half.min():g}' if len(half) else 'never'}")
        texts.append(f"{style.title('attack', str(attack))}: {', '.join(said)}")
    return f"Half of the samples are right. {'; '.join(texts)}."


def forgetting(frame: pd.DataFrame) -> str:
    """Which share of each group is never forgotten."""
    texts = []
    for attack, part in frame.groupby("attack", sort=False):
        kept = part[part.times.astype(str) == "0"].set_index("group").samples
        share = 100 * kept / part.groupby("group").samples.sum()
        title = style.title("attack", str(attack))
        texts.append(f"{title}: poisoned {share['poisoned']:.0f} %, clean {share['clean']:.0f} %")
    return f"Learned and never forgotten. {'; '.join(texts)}."


def generalisation(frame: pd.DataFrame) -> str:
    """Which altered triggers still reach half of the images, of the model with the most poison."""
    texts = []
    for (attack, altered), part in frame.groupby(["attack", "altered"], sort=False):
        mine = part[part.ratio == part.ratio.max()]
        works = ", ".join(f"{value:g}" for value in mine.value[mine.asr >= 50]) or "no value"
        title = style.title("attack", str(attack))
        texts.append(f"{title}, {altered}: {works} of {', '.join(f'{value:g}' for value in mine.value)}")
    return f"Values at which the trigger still reaches at least half of the images. {'; '.join(texts)}."


READINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table_cifar10": cifar10,
    **{f"table_{name}": board for name in ("cifar100", "gtsrb", "tiny")},
    "table_models": blocks("model", lambda value: style.title("model", str(value))),
    "table_ratios": ratios,
    "fig_overview": overview,
    **dict.fromkeys(("fig_ratio", "fig9", "fig_ratio_cifar100", "fig_ratio_gtsrb", "fig_ratio_tiny"), over_ratios),
    "fig_architecture": architecture,
    "fig_quick_learning": quick_learning,
    "fig_forgetting": forgetting,
    "fig_trigger_generalisation": generalisation,
    "our_attacks": our_attacks,
    "our_input_aware": our_input_aware,
    "our_datasets": our_datasets,
    "our_defenses": our_defenses,
    "our_detectors": our_detectors,
    "our_repetition": our_repetition,
    "our_seeds": our_seeds,
    "our_ratio": our_ratio,
    "our_ranks": our_ranks,
    "our_conclusions": our_conclusions,
}
"""Item -> from the frame that it was drawn from to what it says."""
