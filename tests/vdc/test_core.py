"""VDC's rules without a model: questions, judges, scores, thresholds, cache, and the whole pipeline with an oracle."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vdc_server import CLASSES, pictures

from paperlib.errors import PaperlibError
from paperlib.vdc import scoring
from paperlib.vdc.asking import Price, estimate
from paperlib.vdc.cache import AnswerCache
from paperlib.vdc.cleanse import cleanse, cleanse_pairs
from paperlib.vdc.engines import ENGINES, engine
from paperlib.vdc.engines.oracle import OracleEngine
from paperlib.vdc.engines.replay import ReplayEngine
from paperlib.vdc.judges import ChainJudge, EmbeddingJudge, LexicalJudge
from paperlib.vdc.pictures import ArrayPictures, as_pictures
from paperlib.vdc.questions import FOLDER, bank, from_file
from paperlib.vdc.types import Answer, Question, Usage, picture_key

NAN = float("nan")
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BANK = bank("cifar10", CLASSES)


def oracle(x: np.ndarray, true: Any, **options: Any) -> OracleEngine:
    return OracleEngine({picture_key(p): CLASSES[k] for p, k in zip(x, true, strict=True)}, **options)


# ------------------------------------------------------------------------------------------------------- questions


def test_importing_the_package_and_planning_needs_no_torch() -> None:
    code = "import sys, paperlib.vdc.cleanse, paperlib.cli.vdc, paperlib.vdc.engines; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(("name", "classes"), [("cifar10", TEN), ("digits", tuple("0123456789"))])
def test_banks_are_complete_and_consistent(name: str, classes: tuple[str, ...]) -> None:
    found = bank(name, classes)
    # numbers may be the names of anything
    assert bank("auto", classes).name == ("template" if name == "digits" else name)
    assert found.name == name and found.classes == classes and len(found.general) == 2
    for label in classes:
        assert len(found.specific[label]) == 4 and len({q.text for q in found.asked(label)}) == 6
        for question in found.specific[label]:
            # the right answer about the label itself is yes: else the bank contradicts itself
            assert question.expected == "yes" and label in found.attributes[question.attribute]
            assert question.text.endswith("?")
    assert all(true_of <= set(classes) for true_of in found.attributes.values())
    positions = [i for group in found.imagenet.values() for i in group]
    assert len(positions) == len(set(positions)) and all(0 <= i < 1000 for i in positions)


def test_the_template_fits_any_names_and_imagenets() -> None:
    found = bank("auto", ["tench, Tinca tinca", "orange"])
    assert found.name == "template" and [len(found.asked(c)) for c in found.classes] == [8, 8]
    assert found.specific["tench, Tinca tinca"][0].text == "Is there a tench in this picture?"
    assert found.specific["orange"][0].text == "Is there an orange in this picture?"
    assert found.synonyms["tench, Tinca tinca"] == ("Tinca tinca",)
    assert not any("{" in q.text for c in found.classes for q in found.asked(c))


def test_a_bank_of_ones_own_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        'specific:\n  cat: [{text: "Is it wet?", expected: no, attribute: wet}]\nattributes: {wet: [fish]}\n'
    )
    assert from_file(path).specific["cat"] == (Question("Is it wet?", expected="no", attribute="wet"),)
    for text, said in (
        ('specific: {cat: [{txt: "Is it?"}]}', "no question"),
        ('specific: {cat: [{text: "Is it?", expect: no}]}', "did you mean 'expected'"),
        ("general: [What]", "lacks the key 'specific'"),
        ("specific: [{text: Is it?, expected: no}]", r"line 1 is no valid YAML .*put questions in quotes"),
        ('specific: {cat: ["Is it?"]}', "none for the class 'dog'"),
    ):
        path.write_text(text)
        with pytest.raises(PaperlibError, match=said):
            from_file(path, ["dog"] if "dog" in said else ["cat"])
    with pytest.raises(PaperlibError, match="does not exist"):
        bank(tmp_path / "none.yaml", ["cat"])
    with pytest.raises(PaperlibError, match="did you mean 'cifar10'"):
        bank("cifar", ["cat"])
    with pytest.raises(PaperlibError, match="leave no question"):
        BANK.limited(0, 0)
    assert len(BANK.limited(1, 2).asked("cat")) == 3
    text = BANK.asked("cat")[0].text
    assert text not in [q.text for q in BANK.without([text]).asked("cat")]
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"cifar10", "digits", "template"}


# ---------------------------------------------------------------------------------------------------------- judges


@pytest.mark.parametrize(
    ("caption", "label", "same"),
    [
        ("Two cats sleep.", "cat", True),
        ("A puppy.", "dog", True),
        ("A catalogue of dogs", "cat", False),  # a word, not a substring
        ("There is no cat here", "cat", False),
        ("a street without a car, a bus", "automobile", False),
        ("a fire-engine", "truck", True),
        ("Several ponies", "horse", True),
        ("", "cat", False),
    ],
)
def test_words_of_the_label_are_looked_for_as_words(caption: str, label: str, same: bool) -> None:
    assert LexicalJudge(bank("cifar10", TEN).synonyms).same_object([caption], [label]) == [float(same)]


def test_names_with_several_parts() -> None:
    judge = LexicalJudge()
    assert judge.same_object(["a big tinca TINCA", "a tench"], ["tench, Tinca tinca"] * 2) == [1.0, 1.0]
    assert judge.same_object(["a golden retriever"], ["golden_retriever"]) == [1.0]


def test_an_embedding_judge_compares_with_all_classes_and_a_chain_ends_with_the_first_yes() -> None:
    seen: list[str] = []

    def encode(texts: Any) -> np.ndarray:
        seen.extend(texts)
        return np.array([[float("cat" in t or "kitten" in t), float("dog" in t), float("ship" in t)] for t in texts])

    judge = EmbeddingJudge(CLASSES, encode)
    assert len(seen) == 3
    p = judge.same_object(["a kitten", "a kitten", "a dog"], ["cat", "dog", "dog"])
    assert len(seen) == 5  # each caption once
    assert p[0] > 0.99 and p[1] < 0.01 and p[2] > 0.99  # type: ignore[operator]
    chain = ChainJudge([LexicalJudge(), judge])
    assert chain.same_object(["a cat", "a kitten", "a ship"], ["cat"] * 3)[0] == 1.0
    assert [bool(v > 0.5) for v in chain.same_object(["a cat", "a kitten", "a ship"], ["cat"] * 3)] == [
        True,
        True,
        False,
    ]  # type: ignore[operator]
    assert "a cat" not in seen[5:]
    assert judge.fingerprint() != EmbeddingJudge(CLASSES[:2], encode).fingerprint()


# ---------------------------------------------------------------------------------------------------------- scores


def test_scores_by_hand() -> None:
    right = np.array([[1, 0, 1, 1], [1, NAN, 0, NAN], [NAN] * 4])
    p = np.array([[0.9, 0.2, 0.6, 0.7], [1.0, NAN, 0.3, NAN], [NAN] * 4])
    assert scoring.score(right, p, "vote") == pytest.approx([0.75, 0.5, NAN], nan_ok=True)
    assert scoring.score(right, p, "mean_p") == pytest.approx([0.6, 0.65, NAN], nan_ok=True)
    odds = np.array([0.9 / 0.1 * 0.2 / 0.8 * 0.6 / 0.4 * 0.7 / 0.3]) ** (1 / 4)
    assert scoring.score(right, p, "logit_mean")[0] == pytest.approx((odds / (1 + odds))[0])
    assert np.isfinite(scoring.score(right, p, "logit_mean")[1])  # a probability of 1 does not decide alone
    assert scoring.decided(right, np.array([4, 4, 4])).tolist() == [True, True, False]
    assert scoring.decided(right, np.array([4, 5, 4])).tolist() == [True, False, False]
    with pytest.raises(PaperlibError, match="did you mean 'vote'"):
        scoring.score(right, p, "votes")


def test_three_rules_for_a_tie() -> None:
    scores, truth = np.array([0.4, 0.5, 0.5, 0.6, NAN]), np.array([1, 1, 0, 0, 1], bool)
    assert scoring.flag(scores, 0.5).tolist() == [1, 0, 0, 0, 0]
    assert scoring.flag(scores, 0.5, "dirty").tolist() == [1, 1, 1, 0, 0]
    # the code of the paper: caught if dirty, spared if clean
    assert scoring.flag(scores, 0.5, "paper-code", truth).tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(PaperlibError, match="looks at the ground truth"):
        scoring.flag(scores, 0.5, "paper-code")
    third = scoring.score(np.array([[1, 1, 0, 0, 0, 1]]) * 1.0, np.zeros((1, 6)), "vote")
    assert scoring.flag(third, 0.5, "dirty").tolist() == [True]


def test_calibration_keeps_its_promise_on_new_samples() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        threshold = scoring.calibrate(rng.beta(5, 2, 200), 0.1)
        shares.append((rng.beta(5, 2, 1000) < threshold).mean())
    assert 0.088 < np.mean(shares) < 0.1 + 0.004
    assert scoring.calibrate(np.arange(1, 10.0), 0.1) == 1.0
    with pytest.raises(PaperlibError, match="needs at least 9 scored clean reference samples; there are 8"):
        scoring.calibrate(np.arange(8.0), 0.1)
    for wrong in (0, 1, 10):
        with pytest.raises(PaperlibError, match="strictly between 0 and 1"):
            scoring.calibrate(np.arange(99.0), wrong)


def test_rates_agree_with_their_definitions() -> None:
    pairs = lambda s, t: np.mean([(a < b) + (a == b) / 2 for a in s[t] for b in s[~t]])  # noqa: E731
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.3
    scores = np.round(np.where(truth, rng.random(300), 0.3 + rng.random(300)), 1)  # many ties
    flagged = scores < 0.5
    found = scoring.rates(scores, flagged, truth)
    assert found.auroc == pytest.approx(100 * pairs(scores, truth))
    precision, recall = truth[flagged].mean(), flagged[truth].mean()
    assert found.f1 == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert found.tpr == pytest.approx(100 * flagged[truth].mean())
    assert found.fpr == pytest.approx(100 * flagged[~truth].mean())
    perfect = scoring.rates(np.where(truth, 0.1, 0.9), truth, truth)
    assert (perfect.auroc, perfect.fnr_at_budget) == (100, 0)
    blind = scoring.rates(np.zeros(300), flagged, truth)
    assert blind.auroc == 50 and blind.fnr_at_budget == pytest.approx(100 * (1 - truth.mean()))
    assert np.isnan(scoring.rates(scores, flagged, np.zeros(300, bool)).auroc)


# ----------------------------------------------------------------------------------------------------------- cache


def test_the_cache_keeps_everything_and_exports_to_the_same_file(tmp_path: Path) -> None:
    key = ("p" * 64, "q" * 32, "engine")
    answer = Answer("Yes ✓", 0.25, "logprob", False, (0.25, 0.75), Usage(2, 100, 3, 0.5, 1.5))
    cache = AnswerCache(tmp_path / "deep" / "a.sqlite")
    cache.put_many({key: answer, ("x", "y", "z"): Answer("", abstained=True)})
    assert cache.get_many([key, ("x", "y", "other")]) == {key: answer}
    assert cache.get_many([key])[key].usage == answer.usage
    with AnswerCacheOpen(tmp_path / "deep" / "a.sqlite") as second:  # another process would see the same
        assert len(second) == 2
    assert cache.export(tmp_path / "one.jsonl.gz") == 2 == cache.export(tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    fresh = AnswerCache()
    assert fresh.load(tmp_path / "one.jsonl.gz") == 2
    assert fresh.get_many([key]) == {key: answer}
    (tmp_path / "bad").write_bytes(b"no gzip")
    with pytest.raises(PaperlibError, match="no readable export"):
        fresh.load(tmp_path / "bad")
    with pytest.raises(PaperlibError, match="cannot be used as an answer cache"):
        AnswerCache(tmp_path / "bad")


class AnswerCacheOpen:
    def __init__(self, path: Path) -> None:
        self.cache = AnswerCache(path)

    def __enter__(self) -> AnswerCache:
        return self.cache

    def __exit__(self, *_: object) -> None:
        self.cache.close()


def test_several_threads_may_write(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "a.sqlite")

    def work(t: int) -> None:
        for i in range(20):
            cache.put_many({(f"{t}-{i}", "q", "e"): Answer("yes")})

    threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 80


# -------------------------------------------------------------------------------------------------------- pipeline

TRUE = [k % 3 for k in range(30)]
WRONG = [4, 11, 23]
GIVEN = [(k + 1) % 3 if i in WRONG else k for i, k in enumerate(TRUE)]


def test_an_oracle_finds_every_wrong_label_and_says_why() -> None:
    x = pictures(TRUE)
    truth = np.isin(range(30), WRONG)
    report = cleanse(x, GIVEN, CLASSES, engine=oracle(x, TRUE), truth=truth)
    assert sorted(report.dirty) == WRONG
    assert report.samples.loc[WRONG, "suggested_label"].tolist() == [CLASSES[TRUE[i]] for i in WRONG]
    assert "Is there a" in report.samples.loc[4, "why"] and report.samples.loc[0, "why"] == ""
    assert report.samples.loc[4, "descriptions"].startswith("A photo of a dog.")
    assert report.rates is not None and (report.rates.tpr, report.rates.fpr, report.rates.auroc) == (100, 0, 100)
    assert report.kept.tolist() == [i for i in range(30) if i not in WRONG]
    q = report.per_question.set_index(["label", "question"])["accuracy_percent"]
    assert q["cat", "Is there a cat in this picture?"] == 100
    # the same picture in another array order, type and container has the same answers
    first = torch.from_numpy(x).permute(0, 3, 1, 2)
    again = cleanse(first, [CLASSES[k] for k in GIVEN], CLASSES, engine=oracle(x, TRUE))
    assert again.samples["score"].tolist() == report.samples["score"].tolist()


def test_poisoned_pictures_share_the_clean_answers(tmp_path: Path) -> None:
    x = pictures(TRUE)
    poisoned = x.copy()
    poisoned[WRONG, -2:, -2:] = 255
    both = oracle(np.concatenate([x, poisoned[WRONG]]), TRUE + [TRUE[i] for i in WRONG])
    cache = tmp_path / "a.sqlite"
    cleanse(x, TRUE, CLASSES, engine=both, cache=cache)
    report = cleanse(poisoned, [0 if i in WRONG else k for i, k in enumerate(TRUE)], CLASSES, engine=both, cache=cache)
    assert report.usage.calls == 6 * len(WRONG) and report.from_cache == 6 * 27
    assert set(report.dirty) == {i for i in WRONG if TRUE[i] != 0}


def test_noise_and_refusals_cost_what_they_should() -> None:
    true = [k % 3 for k in range(600)]
    x = pictures(true, side=4)
    given = [(k + 1) % 3 if i % 4 == 0 else k for i, k in enumerate(true)]
    truth = np.array([i % 4 == 0 for i in range(600)])
    found = {}
    for noise in (0.0, 0.2):
        report = cleanse(x, given, CLASSES, engine=oracle(x, true, noise=noise), truth=truth)
        assert report.rates is not None
        found[noise] = report.rates
        wrong = 100 - report.per_question["right_on_clean_percent"]
        assert wrong.mean() == pytest.approx(100 * noise, abs=5)
    assert found[0.0].fpr == 0 and found[0.2].fpr > 0.5 and found[0.2].auroc < found[0.0].auroc
    refused = cleanse(x, given, CLASSES, engine=oracle(x, true, refusals=0.5), truth=truth)
    share = refused.samples["n_answered"].sum() / refused.samples["n_asked"].sum()
    assert share == pytest.approx(0.5, abs=0.03)
    status = refused.samples["status"].to_numpy()
    few = 2 * refused.samples["n_answered"] < refused.samples["n_asked"]
    assert few.sum() > 100 and (status[few] == "undecided").all() and (status[~few] != "undecided").all()


def test_the_threshold_follows_the_reference() -> None:
    true = [k % 3 for k in range(700)]
    x = pictures(true, side=4)
    given = [(k + 1) % 3 if i % 2 else k for i, k in enumerate(true)][300:]
    truth = np.array([i % 2 == 1 for i in range(700)])[300:]
    liar = oracle(x, true, noise=0.3)
    options: dict[str, Any] = {"engine": liar, "truth": truth, "score": "vote", "tie": "clean"}
    report = cleanse(x[300:], given, CLASSES, reference=(x[:300], true[:300]), target_fpr=0.2, **options)
    assert report.rates is not None and 0 < report.rates.fpr < 26
    assert report.settings["reference_samples"] == 300 and report.settings["reference_share_percent"] == 75
    strict = cleanse(x[300:], given, CLASSES, reference=(x[:300], true[:300]), target_fpr=0.02, **options)
    assert strict.settings["threshold"] < report.settings["threshold"]


def test_replayed_answers_give_the_same_report(tmp_path: Path) -> None:
    x = pictures(TRUE)
    cache = AnswerCache(tmp_path / "a.sqlite")
    first = cleanse(x, GIVEN, CLASSES, engine=oracle(x, TRUE, noise=0.2), cache=cache)
    cache.export(tmp_path / "answers.jsonl.gz")
    replay = ReplayEngine(tmp_path / "answers.jsonl.gz")
    second = cleanse(x, GIVEN, CLASSES, engine=replay)
    assert second.samples["score"].tolist() == first.samples["score"].tolist()
    unknown = cleanse(pictures(TRUE, seed=9), GIVEN, CLASSES, engine=replay)
    assert set(unknown.samples["status"]) == {"undecided"}
    cleanse(x, GIVEN, CLASSES, engine=oracle(x, TRUE), cache=cache)
    cache.export(tmp_path / "two.jsonl.gz")
    with pytest.raises(PaperlibError, match="name one"):
        ReplayEngine(tmp_path / "two.jsonl.gz")
    name = replay.fingerprint()
    assert ReplayEngine(tmp_path / "two.jsonl.gz", fingerprint=name).fingerprint() == name


def test_an_estimate_counts_what_is_left(tmp_path: Path) -> None:
    x = pictures(TRUE)
    names = [CLASSES[k] for k in GIVEN]
    cache = AnswerCache(tmp_path / "a.sqlite")
    mind = oracle(x, TRUE).fit(BANK)
    cleanse(x[:10], GIVEN[:10], CLASSES, engine=mind, questions=BANK, cache=cache)
    price = Price(usd_per_million_prompt=2.0, usd_per_million_completion=8.0)
    usage, known = estimate(ArrayPictures(x), names, BANK, mind, cache, price)
    assert (usage.calls, known) == (120, 60)
    assert usage.cost_usd == pytest.approx((usage.prompt_tokens * 2 + usage.completion_tokens * 8) / 1e6)


def test_the_report_is_written_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    x = pictures(TRUE)

    class Rude(OracleEngine):
        def fit(self, *arguments: Any) -> Any:
            made = super().fit(*arguments)
            inner = made.answer
            made.answer = lambda *a: [  # type: ignore[method-assign]
                [Answer("<script>alert(1)</script>") if q.kind == "general" else b for q, b in zip(qs, r, strict=True)]
                for qs, r in zip(a[1], inner(*a), strict=True)
            ]
            return made

    truth = {picture_key(p): CLASSES[k] for p, k in zip(x, TRUE, strict=True)}
    report = cleanse(x, GIVEN, CLASSES, engine=Rude(truth))
    report.to_csv(tmp_path)
    text = report.to_html(tmp_path / "index.html", most=2).read_text()
    assert "<script>alert" not in text and "\\u003cscript>alert" in text
    assert text.count('"image": "') == 2 and "The oracle knows" in text
    import pandas as pd

    rows = pd.read_csv(tmp_path / "samples.csv")
    assert len(rows) == 30 and sorted(rows["position"][:3]) == WRONG
    assert sorted(map(int, (tmp_path / "dirty.txt").read_text().split())) == WRONG
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["counts"]["dirty"] == 3 and settings["engine"] == "oracle"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [0] * 29}, "labels has 29 entries for 30 images"),
        ({"labels": [7] * 30}, "labels run from 7 to 7"),
        ({"labels": ["cow"] * 30}, "none of class_names"),
        ({"images": np.zeros((0, 4, 4, 3), np.uint8), "labels": []}, "images is empty"),
        ({"images": np.zeros((30, 4, 4, 3))}, "must be uint8"),
        ({"images": 3}, "images is a int"),
        ({"class_names": ["cat", "cat"]}, "must be distinct names"),
        ({"alpha": 0.5, "target_fpr": 0.1}, "give one of them"),
        ({"target_fpr": 0.1}, "give reference"),
        ({"tie": "paper-code"}, "looks at the ground truth"),
        ({"tie": "heads"}, "tie='heads'"),
        ({"score": "mean"}, "score='mean'"),
        ({"judge": "lexica"}, "did you mean 'lexical'"),
        ({"engine": "embeded"}, "did you mean 'embedded'"),
        ({"truth": [True]}, "truth has shape"),
        ({"questions": "digits"}, "none for the class 'cat'"),
    ],
)
def test_mistakes_are_said_before_anything_is_asked(change: dict[str, Any], said: str) -> None:
    x = pictures(TRUE)
    arguments: dict[str, Any] = {"images": x, "labels": GIVEN, "class_names": CLASSES, "engine": oracle(x, TRUE)}
    with pytest.raises(PaperlibError, match=said):
        cleanse(**{**arguments, **change})


def test_odds_and_ends() -> None:
    assert picture_key(np.zeros((2, 3, 3), np.uint8)) != picture_key(np.zeros((3, 2, 3), np.uint8))
    assert as_pictures(np.zeros((2, 4, 5), np.uint8)).read(0).shape == (4, 5, 3)
    assert as_pictures(torch.zeros(2, 1, 4, 5, dtype=torch.uint8)).read(1).shape == (4, 5, 3)
    with pytest.raises(PaperlibError, match="noise=2"):
        engine("oracle", truth={}, noise=2)
    with pytest.raises(PaperlibError, match="reads no sentences"):
        cleanse_pairs([], [], engine=Nothing())
    for method in ENGINES.values():
        assert method.load().__doc__


class Nothing:
    info = type("Info", (), {"name": "clip"})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
