"""What the papers contain and what they printed: the inventory of tables and figures, and their numbers in one form.

The files of ``paperlib/published`` keep each source's own names; ``SOURCES.md`` beside them says where each comes from
and which errors it is known to hold. Here they become one tidy table whose attacks, defenses and models carry the names
of our registries, so that our results can be joined to them. Torch is never imported, pandas only to read numbers.

``reading`` has two values. ``printed`` is what the paper shows. Where that is known to be wrong (FT-SAM Tables 3 and 4,
NPD Table 6), a second row of the cell has ``corrected``, and both say why in ``note``; :func:`preferred` keeps one.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from paperlib.errors import choose

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parent.parent / "published"
"""The published numbers; they travel with the package."""

PAPERS = {
    "vdc": "01_vdc",
    "sau": "02_sau",
    "selection": "03_selection",
    "polarizer": "04_polarizer",
    "ft_sam": "05_ft_sam",
    "mp_fair_regression": "06_mp_fair_regression",
    "benchmark": "07_benchmark",
}
"""The seven papers and the notebook of each."""

COLUMNS = (
    "paper",
    "item",
    "dataset",
    "model",
    "ratio",
    "attack",
    "defense",
    "setting",
    "metric",
    "value",
    "unit",
    "reading",
    "grade",
    "note",
    "source",
)

ATTACKS = {
    "BadNets": "badnets",
    "BadNets-A2O": "badnets",
    "BadNets-A2A": "badnets_a2a",
    "Blended": "blended",
    "SIG": "sig",
    "LC": "lc",
    "CLA": "lc",
    "LF": "lf",
    "SSBA": "ssba",
    "SSBA-A2A": "ssba_a2a",
    "Input-aware": "input_aware",
    "Input-Aware": "input_aware",
    "WaNet": "wanet",
    "Trojan": "trojannn",
    "TrojanNN": "trojannn",
    "BPP": "bpp",
    "CTRL": "ctrl",
    "TaCT": "tact",
    "Adap-Blend": "adap_blend",
    "symmetric": "symmetric",
    "asymmetric": "asymmetric",
    "Avg": "average",
    "Average": "average",
    "(mean)": "average",
    "mean of 8 attacks": "average",
}
"""Attack (or kind of label noise) as printed -> registry name; ``average`` is a column of averages."""

DEFENSES = {
    # defenses
    "none": "none",
    "FT": "ft",
    "FP": "fp",
    "Pruning": "pruning",
    "Pruning+FT(FP)": "fp",
    "Pruning+FT-SAM": "pruning+ft_sam",
    "NAD": "nad",
    "NC": "nc",
    "ANP": "anp",
    "ANP+FT": "anp+ft",
    "ANP+FT-SAM": "anp+ft_sam",
    "AC": "ac",
    "SS": "ss",
    "ABL": "abl",
    "DBD": "dbd",
    "i-BAU": "i_bau",
    "I-BAU": "i_bau",
    "EP": "ep",
    "DDE(=EP)": "ep",
    "CLP": "clp",
    "MBNS(=BNP)": "bnp",
    "RNP": "rnp",
    "D-BR": "d_br",
    "D-ST": "d_st",
    "CAT": "cat",
    "FT-SAM": "ft_sam",
    "SAU": "sau",
    "Spatial SAU": "sau_spatial",
    "Ensemble SAU": "sau_ensemble",
    "NPD": "npd",
    "NPD-TU": "npd_tu",
    "NPD-TP": "npd_tp",
    "NPD-UU": "npd_uu",
    "NPD-UP": "npd_up",
    # detectors of poison
    "STRIP": "strip",
    "SCAn": "scan",
    "Spectral": "ss",
    "SPECTRE": "spectre",
    "Frequency": "frequency",
    "CT": "ct",
    "Beatrix": "beatrix",
    "CD": "cd",
    "ASSET": "asset",
    "AGPD": "agpd",
    "AGPD-filter+retrain": "agpd+retrain",
    "VDC": "vdc",
    # detectors of label noise
    "BHN": "bhn",
    "CORES": "cores",
    "CL": "cl",
    "SimiFeat-V": "simifeat_v",
    "SimiFeat-R": "simifeat_r",
    # regression
    "Constant": "constant",
    "OLS": "ols",
    "KRR": "krr",
    "FKR": "fkr",
    "FPR": "fpr",
    "NRFC": "nrfc",
    "RBA": "rba",
    "Ours": "mp_fair",
}
"""Defense, detector or fair regression as printed -> registry name; ``none`` is the undefended model."""

_METRICS = {"C-Acc": "ACC", "R-Acc": "R-ACC"}
_DATASETS = {
    "CIFAR-10": "cifar10",
    "Tiny ImageNet": "tiny",
    "ImageNet-100": "imagenet100",
    "ImageNet-Dog": "imagenet_dog",
    "communities": "communities_crime",
}


@dataclass(frozen=True)
class Item:
    """One table or figure of a paper.

    Attributes
    ----------
    paper, id : str
        ``paper/id`` is the item's name everywhere. An id holds a number only where that number is known.
    kind : str
        ``table`` or ``figure``.
    number : str
        The number it has in the paper; empty if unknown.
    verified : bool
        True if existence and number (where one is given) were read; False if one of them is inferred.
    title, notebook, note : str
        What it shows, in our words; the notebook that regenerates it; what is unusual about it.
    """

    paper: str
    id: str
    kind: str
    number: str
    verified: bool
    title: str
    notebook: str
    note: str


@cache
def _inventory() -> tuple[Item, ...]:
    with (FOLDER / "inventory.csv").open(newline="", encoding="utf-8") as file:
        return tuple(Item(verified=row.pop("verified") == "true", **row) for row in csv.DictReader(file))


def inventory(paper: str | None = None) -> list[Item]:
    """Every table and figure of the seven papers (or of one), in the order of the notebooks.

    Raises
    ------
    PaperlibError
        ``paper`` is not one of :data:`PAPERS`.
    """
    if paper is not None:
        choose("paper", paper, PAPERS)
    return [item for item in _inventory() if paper in (None, item.paper)]


def published(paper: str, item: str | None = None) -> "pd.DataFrame":
    """What a paper printed, one value a row, with the columns :data:`COLUMNS`.

    Parameters
    ----------
    paper : str
        One of :data:`PAPERS`, or ``agpd``, whose numbers serve as anchors for detectors.
    item : str, optional
        An id of :func:`inventory`, or one that only the numbers have: ``leaderboard_2022`` and ``leaderboard_2025`` of
        the benchmark, AGPD's tables. An item without published numbers gives an empty table.

    Returns
    -------
    pandas.DataFrame
        A fresh copy. ``dataset`` to ``metric`` together with ``reading`` name a value uniquely within its item; they
        are empty where they do not apply. ``ratio`` is the poisoning (or noise) ratio of the whole training set, a
        fraction or NaN. ``setting`` holds what else the cell depends on, as ``name=value`` joined by semicolons.
        ``value`` is a number, or NaN where the original prints none, in ``unit`` (``%``, ``s``, ``min``, or empty for
        plain numbers). ACC, ASR, R-ACC, DER, TPR, FPR and F1 are percentages. ``grade`` is A (confirmed) or B (one
        unconfirmed OCR reading), and empty for exact transcriptions.

    Raises
    ------
    PaperlibError
        ``paper`` or ``item`` is unknown.
    """
    frame = _published(choose("paper", paper, _READERS))
    if item is None:
        return frame.copy()
    choose("item", item, {i.id for i in _inventory() if i.paper == paper} | set(frame["item"]))
    return frame[frame["item"] == item].reset_index(drop=True)


def preferred(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One row per cell of what :func:`published` gave: the corrected reading if there is one, else the printed one."""
    cell = ["paper", "item", "dataset", "model", "ratio", "attack", "defense", "setting", "metric"]
    order = frame["reading"].eq("printed")  # corrected first
    kept = frame.assign(_order=order).sort_values("_order", kind="stable").drop_duplicates(cell)
    return kept.sort_index().drop(columns="_order").reset_index(drop=True)


def published_hyperparameters(paper: str | None = None) -> "pd.DataFrame":
    """Settings that papers and official code give, with their status and source.

    Parameters
    ----------
    paper : str, optional
        One of :data:`PAPERS`; all of them by default.

    Returns
    -------
    pandas.DataFrame
        Columns ``paper, component, setting, scope, value, status, source``, all text: ``scope`` names the data sets
        that a value is for, ``status`` says whether it was read in the paper, in the code, or second-hand.

    Raises
    ------
    PaperlibError
        ``paper`` is unknown.
    """
    import pandas as pd

    defenses = raw("defence_papers_hyperparameters.csv")
    defenses["paper"] = defenses["paper"].map(
        {"SAU": "sau", "NPD": "polarizer", "FT-SAM": "ft_sam", "LPS": "selection"}
    )
    cleansing = raw("vdc_settings.csv").rename(columns={"item": "setting", "dataset": "scope"})
    cleansing = cleansing.assign(paper="vdc", component="method")
    both = pd.concat([cleansing[list(defenses.columns)], defenses], ignore_index=True)
    if paper is None:
        return both
    return both[both["paper"] == choose("paper", paper, PAPERS)].reset_index(drop=True)


def raw(name: str) -> "pd.DataFrame":
    """A file of :data:`FOLDER` as it stands, every value as text, missing ones as empty text.

    Raises
    ------
    PaperlibError
        There is no such file.
    """
    import pandas as pd

    choose("name", name, {path.name for path in FOLDER.glob("*.csv*")})
    return pd.read_csv(FOLDER / name, dtype=str, keep_default_na=False)


# --------------------------------------------------------------------- one reader per paper


@cache
def _published(paper: str) -> "pd.DataFrame":
    frame = _READERS[paper]()
    return _finish(frame.assign(paper=paper))


def _finish(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Fill the columns that a reader left out, and give all of them their types and order."""
    import pandas as pd

    defaults = {"model": "", "ratio": "", "attack": "", "defense": "", "setting": "", "unit": "%"}
    defaults |= {"reading": "printed", "grade": "", "note": ""}
    for column, value in defaults.items():
        frame[column] = frame[column].fillna(value) if column in frame else value
    frame["metric"] = frame["metric"].replace(_METRICS)
    frame["dataset"] = frame["dataset"].replace(_DATASETS)
    frame["model"] = frame["model"].replace({"preactresnet18": "preact_resnet18"})
    for column in ("value", "ratio"):
        frame[column] = pd.to_numeric(frame[column].where(frame[column] != "")).astype(float)
    return frame[list(COLUMNS)].reset_index(drop=True)


def _named(frame: "pd.DataFrame", column: str, names: Mapping[str, str]) -> None:
    """Replace printed names by registry names, in place; a name that the dict does not know is an error in our data."""
    values = frame[column]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise KeyError(f"{column}: no registry name for {', '.join(map(repr, unknown))}")
    frame[column] = values.map(names)


def _extract(frame: "pd.DataFrame", column: str, pattern: str, setting: str) -> None:
    """Move what ``pattern`` finds out of a printed name into ``setting``, in place.

    The pattern's group ``name`` is what stays in the column; the others fill the format string ``setting``.
    """
    found = frame[column].str.extract(f"^{pattern}$")
    rows = found["name"].notna()
    frame[column] = frame[column].where(~rows, found["name"])
    others = found[rows].drop(columns="name").to_dict("records")
    frame.loc[rows, "setting"] = [setting.format_map({str(k): v for k, v in row.items()}) for row in others]


def _ft_sam() -> "pd.DataFrame":
    import pandas as pd

    frame = raw("ftsam_iccv2023.csv").rename(columns={"poison_ratio": "ratio", "defense_or_strategy": "defense"})
    recomputed = raw("ftsam_iccv2023_table34_der_recomputed.csv").rename(
        columns={"poison_ratio": "ratio", "defense_or_strategy": "defense"}
    )
    recomputed["metric"] = "DER"
    frame["reading"], recomputed["reading"] = "printed", "corrected"
    frame["defense"] = frame["defense"].replace({"none(as printed)": "none"})

    # Tables 3 and 4 print the undefended models shifted by one attack from SIG on; Table 1 has them right.
    shifted = ("SIG", "SSBA", "Trojan", "WaNet")
    rows = frame["table"].isin(["Table3", "Table4"]) & frame["attack"].isin(shifted)
    wrong_none, wrong_der = rows & frame["defense"].eq("none"), rows & frame["metric"].eq("DER")
    frame.loc[wrong_none, "note"] = "as printed; this row of the undefended models is shifted by one attack from SIG on"
    frame.loc[wrong_der, "note"] = "as printed; computed from the shifted row of the undefended models"
    right = frame[frame["table"].eq("Table1") & frame["defense"].eq("none")].set_index(["attack", "metric"])["value"]
    none = frame[wrong_none].copy()
    none["value"] = [right[cell] for cell in zip(none["attack"], none["metric"], strict=True)]
    none["reading"], none["note"] = "corrected", "from Table 1: in print this row is shifted by one attack from SIG on"
    recomputed = recomputed[recomputed["attack"].isin(shifted)].assign(
        note="recomputed with the undefended models of Table 1, the printed DER uses a shifted row"
    )

    frame = pd.concat([frame, none, recomputed], ignore_index=True)
    frame["setting"] = ""
    _extract(frame, "defense", r"(?P<name>[^@]+)@benign=(?P<share>[\d.]+)", "clean_ratio={share}")
    frame["setting"] = frame["setting"].str.replace(r"0$", "", regex=True)  # 0.10 -> 0.1, as a number prints
    _named(frame, "attack", ATTACKS)
    _named(frame, "defense", DEFENSES)
    frame["item"] = frame["table"].str.replace("Table", "table")
    frame["source"] = "FT-SAM, ICCV 2023, arXiv 2304.11823, " + frame["table"].str.replace("Table", "Table ")
    return frame


def _sau() -> "pd.DataFrame":
    frame = raw("sau_neurips2023.csv").rename(columns={"poison_ratio": "ratio"})
    number = frame["table"].str.extract(r"^Table (\d+)", expand=False)
    frame["item"], frame["setting"], frame["note"] = "table" + number, "", ""
    frame["source"] = "SAU, NeurIPS 2023, arXiv 2307.10562, Table " + number
    attack, defense = frame["attack"], frame["defense"]

    pixel = number.eq("12")  # "0.2 0.42": the trigger's pixel value and its mean L-infinity norm
    frame.loc[pixel, "setting"] = attack[pixel].str.replace(r"^(\S+) (\S+)$", r"pixel=\1;linf=\2", regex=True)
    share = number.eq("14")
    frame.loc[share, "setting"] = "cifar5m_share=" + attack[share]
    frame.loc[pixel | share, "attack"] = "BadNets"
    both_sets = number.eq("13")
    parts = attack[both_sets].str.extract(r"^(CIFAR-10|Tiny ImageNet) (.+)$")
    frame.loc[both_sets, "dataset"], frame.loc[both_sets, "attack"] = parts[0], parts[1]
    frame.loc[number.eq("15"), "setting"] = "attacker=adversarial_training"
    _extract(frame, "attack", r"(?P<name>\S+) (?P<percent>\d)%", "clean_ratio=0.0{percent}")
    _extract(frame, "defense", r"(?P<name>SAU)-(?P<n>\d+)", "clean_samples={n}")
    config = defense.str.startswith("Config ")
    frame.loc[config, "setting"] = "configuration=" + defense[config].str.removeprefix("Config ")
    frame.loc[config, "defense"] = "SAU"
    frame.loc[config, "note"] = "the meaning of this configuration is not known"
    ablation = number.eq("6")
    frame.loc[ablation, "setting"] = "objectives=" + defense[ablation].str.slice(0, 3)
    frame.loc[ablation, "defense"] = "SAU"
    tiny_average = number.eq("4") & attack.eq("Average") & frame["metric"].eq("DER")
    frame.loc[tiny_average, "note"] = "as printed: a mean over seven attacks, in which the absent SIG counts as 50"

    pairs = number.eq("24") & attack.str.contains(" ")  # "Blended BadNets": two triggers in one training set
    names = attack[pairs].str.split(" ", expand=True)
    together = names[0].map(ATTACKS) + "+" + names[1].map(ATTACKS)
    frame.loc[pairs, "attack"] = "BadNets"  # any known name, overwritten below
    _named(frame, "attack", ATTACKS)
    frame.loc[pairs, "attack"] = together
    _named(frame, "defense", DEFENSES)
    seconds = frame["metric"].eq("time_to_take_effect_s")
    frame.loc[seconds, "unit"] = "s"
    frame["metric"] = frame["metric"].str.removesuffix("_s")
    return frame


def _polarizer() -> "pd.DataFrame":
    import pandas as pd

    from paperlib.metrics import der

    frame = raw("npd_neurips2023.csv").rename(columns={"poison_ratio": "ratio"})
    number = frame["table"].str.extract(r"^Table (\d+)", expand=False)
    frame["item"], frame["setting"], frame["note"] = "table" + number, "", ""
    frame["source"] = "NPD, NeurIPS 2023, arXiv 2306.16697, Table " + number
    frame["model"] = frame["model"].replace({"average of the 12 rows": "average"})

    samples = frame["table"].str.extract(r"\((\d+) clean samples\)", expand=False)
    frame.loc[samples.notna(), "setting"] = "clean_samples=" + samples[samples.notna()]
    frame.loc[number.eq("7"), "setting"] = "attacker=adversarial_training"
    for table, prefix, setting in (
        ("3", "NPD loss terms: ", "losses="),
        ("13", "", "structure="),
        ("15", "NP in ", "insertion="),
    ):
        rows = number.eq(table) & frame["defense"].ne("none")
        frame.loc[rows, "setting"] = setting + frame.loc[rows, "defense"].str.removeprefix(prefix)
        frame.loc[rows, "defense"] = "NPD"
    uncertain = number.eq("3") & frame["setting"].ne("losses=all")
    frame.loc[uncertain, "note"] = "which loss terms this row has is uncertain"
    all_to_all = number.eq("8")
    _named(frame, "attack", ATTACKS)
    frame.loc[all_to_all, "attack"] += "_a2a"
    _named(frame, "defense", DEFENSES)
    seconds = frame["metric"].eq("runtime_s")
    frame.loc[seconds, ["metric", "unit"]] = ["runtime", "s"]

    # Table 6 prints DERs at 250 and 50 samples for which ACC and ASR of the undefended model were interchanged.
    wrong = samples.isin(["250", "50"]) & frame["metric"].eq("DER")
    frame.loc[wrong, "note"] = "as printed; ACC and ASR of the undefended model were interchanged"
    rates = frame[frame["metric"].isin(["ACC", "ASR"])].assign(value=frame["value"].astype(float))
    none = rates[rates["item"].eq("table1") & rates["defense"].eq("none")].pivot(
        index="attack", columns="metric", values="value"
    )
    cell = ["attack", "defense", "setting"]
    few = rates["setting"].isin(["clean_samples=250", "clean_samples=50"])
    after = rates[few].pivot(index=cell, columns="metric", values="value")
    before = none.loc[after.index.get_level_values("attack")]
    right = der(before["ACC"], before["ASR"], after["ACC"], after["ASR"], unit="percent")
    corrected = frame[wrong].drop(columns="value").assign(reading="corrected")
    corrected["note"] = "recomputed from the ACC and ASR in print and the undefended models of Table 1"
    corrected = corrected.merge(after.assign(value=right)["value"].round(2).reset_index(), on=cell)
    return pd.concat([frame, corrected], ignore_index=True)


def _vdc() -> "pd.DataFrame":
    frame = raw("vdc_tables.csv").rename(columns={"attack_or_noise": "attack", "method": "defense"})
    items = {"T1": "table1", "T2": "table2", "T3-or-T4": "table_noisy_labels", "T13-or-T14": "table_imagenet_dog"}
    frame["item"] = frame["table"].map(items)
    frame["setting"] = "clean_data=" + frame["clean_data_given"]
    frame["ratio"] = frame["ratio"].str.extract(r"^([\d.]+)", expand=False)
    _named(frame, "attack", ATTACKS)
    _named(frame, "defense", DEFENSES)
    frame["source"] = "VDC, ICLR 2024, arXiv 2309.16211: " + frame["source"]
    return frame


def _benchmark() -> "pd.DataFrame":
    import pandas as pd

    boards = []
    for year, file, source in (
        ("2022", "backdoorbench_v1_leaderboard_all.csv.gz", "BackdoorBench leaderboard, June 2022"),
        ("2025", "backdoorbench_v2_leaderboard_2025-06.csv.gz", "BackdoorBench leaderboard, June 2025"),
    ):
        boards.append(raw(file).assign(item=f"leaderboard_{year}", source=source))
    frame = pd.concat(boards, ignore_index=True).rename(columns={"poison_ratio": "ratio"})
    _named(frame, "attack", ATTACKS)
    _named(frame, "defense", DEFENSES)
    frame["note"] = ""
    old = frame["item"].eq("leaderboard_2022")
    frame.loc[old & frame["attack"].eq("lc"), "note"] = "LC was run without its corner trigger: not comparable"
    frame.loc[frame["value"].eq(""), "note"] = "not available in the original"
    return frame


def _agpd() -> "pd.DataFrame":
    frame = raw("agpd_iclr2025_detection.csv").rename(columns={"poison_ratio": "ratio"})
    _named(frame, "attack", ATTACKS)
    _named(frame, "defense", DEFENSES)
    minutes = frame["metric"].str.startswith("time_minutes")
    frame.loc[minutes, "unit"] = "min"
    frame["metric"] = frame["metric"].replace({"time_minutes_RTX_A5000": "runtime", "time_minutes_std": "runtime_std"})
    frame["item"] = frame["table"].str.lower()
    frame["source"] = "AGPD, ICLR 2025, arXiv 2312.06230, " + frame["table"].str.replace("Table", "Table ")
    return frame


def _mp_fair_regression() -> "pd.DataFrame":
    import pandas as pd

    paper = "MP fair regression, AISTATS 2023, arXiv 2302.10409, "
    tables = raw("fairreg_aistats2023_tables.csv").rename(columns={"value": "mean"})
    parts = tables["metric"].str.extract(r"^(?P<metric>\w+) \((?P<split>\w+)\)$")
    tables = tables.assign(metric=parts["metric"], split=parts["split"].str.lower(), where=tables["table"])
    inputs = tables["defense"].str.extract(r"^Ours (w/o|w/) S$", expand=False)
    tables["setting"] = inputs.map({"w/": ";inputs=with_s", "w/o": ";inputs=without_s"}).fillna("")
    tables["defense"] = tables["defense"].str.replace(r" w/o? S$", "", regex=True)

    boxes = raw("fairreg_aistats2023_boxplots_vector.csv")
    boxes = boxes.rename(columns={"dataset_or_k": "dataset", "figure": "where", "method": "defense"})
    boxes["split"] = boxes["split"].str.lower()
    boxes["model"] = boxes["setting"].str.extract(r"^(linear|kernel)", expand=False)
    groups = boxes["dataset"].str.startswith("k=")
    boxes["setting"] = (";" + boxes["dataset"]).where(groups, "")
    boxes["dataset"] = boxes["dataset"].where(~groups, "communities_crime")

    curves = raw("fairreg_aistats2023_tradeoff_vector.csv").rename(columns={"figure": "where", "method": "defense"})
    curves["split"] = curves["split"].str.lower()
    curves["setting"] = ";vertex=" + curves["vertex"]
    curves["model"] = "linear"

    demos = []
    for name in ("linear", "kernel"):
        demo = raw(f"fairreg_demo_{name}.csv").rename(columns={"method": "defense"}).assign(model=name)
        found = demo["setting"].str.extract(
            r"(?P<k>k=\d+)?;?split=(?P<split>\w+);(?:trial=(?P<trial>\d+)|n_trials=10)$"
        )
        metric = demo["metric"].str.extract(r"^(?P<metric>MSE|SMD)_?(?P<stat>\w*)$")
        per_trial = ("trial=" + found["trial"]).fillna("stat=" + metric["stat"].str.removesuffix("_ddof1"))
        demo["setting"] = "split=" + found["split"].str.lower() + (";" + found["k"]).fillna("") + ";" + per_trial
        demo = demo.assign(metric=metric["metric"], item=f"demo_{name}", dataset=demo["dataset"].str.lower())
        demos.append(demo.assign(source=f"authors' {name} demo, code of commit 4b0a5d5, rerun"))

    columns = ["where", "dataset", "model", "defense", "split", "setting", "metric", "stat", "value"]
    keys = ["where", "dataset", "model", "defense", "split", "setting", "metric"]
    statistics = ["median", "q1", "q3", "whisker_low", "whisker_high"]
    printed = pd.concat(
        [
            tables.melt(id_vars=keys, value_vars=["mean", "std"], var_name="stat"),
            boxes.melt(id_vars=keys, value_vars=statistics, var_name="stat"),
            curves.rename(columns={"mse": "MSE", "smd": "SMD"})
            .melt(id_vars=keys[:-1], value_vars=["MSE", "SMD"], var_name="metric")
            .assign(stat=""),
        ],
        ignore_index=True,
    )[columns]
    statistic = (";stat=" + printed["stat"]).where(printed["stat"].ne(""), "")
    printed["setting"] = "split=" + printed["split"] + printed["setting"] + statistic
    printed["item"] = printed["where"].str.replace("Table ", "table").str.replace("Figure ", "fig")
    printed["source"] = paper + printed["where"]
    frame = pd.concat([printed, *demos], ignore_index=True)

    # FKR-1 and FPR-1 have the weight 10, -3 the weight 1000; the demos write the weight itself.
    weight = (
        frame["defense"].str.extract(r"^(?:FKR|FPR)-(\d+)$", expand=False).map({"1": "10", "3": "1000", "1000": "1000"})
    )
    frame["setting"] += (";weight=" + weight).fillna("")
    frame["defense"] = frame["defense"].str.replace(r"-\d+$", "", regex=True)
    _named(frame, "defense", DEFENSES)
    covariance = frame["metric"].eq("Norm of Cov")
    frame.loc[covariance, "metric"] = "COV"
    frame["unit"] = ""
    dpd = frame["metric"].eq("DPD")
    frame["note"] = ""
    frame.loc[dpd, "note"] = "the plotted distance is of Kolmogorov type, not the W1 distance of the definition"
    frame.loc[covariance, "note"] = "a sum over the samples, not a mean"
    return frame


def _selection() -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(columns=["item", "dataset", "metric", "value", "source"], dtype=str)


_READERS: dict[str, Callable[[], "pd.DataFrame"]] = {
    "vdc": _vdc,
    "sau": _sau,
    "selection": _selection,  # none of its numbers is available
    "polarizer": _polarizer,
    "ft_sam": _ft_sam,
    "mp_fair_regression": _mp_fair_regression,
    "benchmark": _benchmark,
    "agpd": _agpd,
}
