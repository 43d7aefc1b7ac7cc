"""ANP and RNP: masks in [0, 1], the noise of the formula, and the choice of a threshold on the right data."""

import math

import pytest
import torch
import torch.nn.functional as F
from image_toy import images, model, same, state
from torch import nn

from paperlib.data.images import ImageData
from paperlib.defenses import anp as module
from paperlib.defenses import defend, purify
from paperlib.defenses.anp import ANP, learn_masks, perturbed_loss, worst_noise
from paperlib.defenses.pruning import THRESHOLDS, batch_norms, per_layer, prune_by_mask
from paperlib.defenses.rnp import RNP, unlearn
from paperlib.errors import NotApplicable, PaperlibError
from paperlib.training import Recipe, fit

FAST = {"anp": {"iterations": 6, "batch_size": 16}, "rnp": {"unlearn_epochs": 2, "recover_epochs": 2, "batch_size": 20}}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return images()


@pytest.fixture(scope="module")
def made(data: ImageData) -> nn.Module:
    """A model that knows its images."""
    out = model(data)
    fit(out, data, Recipe(8, 20, 0.05), seed=0)
    out.zero_grad(set_to_none=True)
    return out.eval()


# ------------------------------------------------------------------------------------------------------------ the masks


def test_masks_lie_in_0_1_and_move(made: nn.Module, data: ImageData) -> None:
    before = state(made)
    masks = learn_masks(made, data, ANP(iterations=8, batch_size=16, lr=2.0), seed=0)
    values = torch.cat(list(masks.values()))
    assert [len(m) for m in masks.values()] == [n.num_features for n in batch_norms(made).values()]
    assert values.min() >= 0 and values.max() <= 1 and values.min() < 1
    assert same(before, state(made))


def test_a_mask_of_ones_without_noise_is_the_model(
    made: nn.Module, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "autocast", lambda device: torch.autocast("cpu", enabled=False))
    norms = batch_norms(made)
    n = sum(m.num_features for m in norms.values())
    x, y = data.float(), data.y
    with torch.no_grad():
        expected = F.cross_entropy(made(x), y)
        assert torch.allclose(perturbed_loss(made, norms, torch.ones(n), None, x, y), expected)
        assert torch.allclose(perturbed_loss(made, norms, torch.ones(n), torch.zeros(2, n), x, y), expected)
        # (m + delta) w and (1 + xi) b, written into a copy
        g = torch.Generator().manual_seed(0)
        mask, noise = torch.rand(n, generator=g), torch.rand(2, n, generator=g) - 0.5
        found = perturbed_loss(made, norms, mask, noise, x, y)
        before = state(made)
        parts = zip(
            norms.values(),
            per_layer(norms, mask + noise[0]).values(),
            per_layer(norms, 1 + noise[1]).values(),
            strict=True,
        )
        for norm, weight, bias in parts:
            norm.weight.mul_(weight)
            norm.bias.mul_(bias)
        assert torch.allclose(found, F.cross_entropy(made(x), y), rtol=1e-4)
        made.load_state_dict(before)


@pytest.mark.parametrize(("project", "bound"), [(False, 0.8), (True, 0.4)])
def test_noise_raises_the_loss_within_its_bound(made: nn.Module, data: ImageData, project: bool, bound: float) -> None:
    norms = batch_norms(made)
    mask = torch.ones(sum(m.num_features for m in norms.values()))
    x, y = data.float(), data.y
    start = (2 * torch.rand((2, len(mask)), generator=torch.Generator().manual_seed(1)) - 1) * 0.4
    noise = worst_noise(made, norms, mask, start, x, y, ANP(project=project))
    assert noise.abs().max() <= bound + 1e-6
    assert torch.allclose((noise - start).abs().max(), torch.tensor(0.4)) or project
    with torch.no_grad():
        assert perturbed_loss(made, norms, mask, noise, x, y) > perturbed_loss(made, norms, mask, start, x, y)


def test_the_loss_weighs_both_terms(made: nn.Module, data: ImageData) -> None:
    """alpha = 1 is blind to the noise; alpha = 0 is not."""

    def masks(**changes: float) -> torch.Tensor:
        return torch.cat(list(learn_masks(made, data, ANP(iterations=3, batch_size=16, **changes), seed=0).values()))

    # one number of draws, so that both see the same batches
    assert torch.equal(masks(alpha=1, epsilon=0.4), masks(alpha=1, epsilon=0.1))
    assert not torch.equal(masks(alpha=0, epsilon=0.4), masks(alpha=0, epsilon=0.1))


def test_unlearning_unlearns(made: nn.Module, data: ImageData) -> None:
    before = state(made)
    config = RNP(batch_size=20, unlearn_lr=0.02)  # at 0.05 the ascent runs away on some processors
    unlearned, notes = unlearn(made, data, config, torch.Generator().manual_seed(0))
    assert notes["unlearned_accuracy"] <= 20 or notes["unlearn_epochs"] == config.unlearn_epochs
    with torch.no_grad():
        assert F.cross_entropy(unlearned(data.float()), data.y) > F.cross_entropy(made(data.float()), data.y) + 0.5
    assert same(before, state(made))


# -------------------------------------------------------------------------------------------------------- the threshold


class Gate(nn.Module):
    """Four channels, one per class; the brightness of quarter k of the rows is logit k. Without channel k, class k is
    lost."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(4, eps=0.0)
        with torch.no_grad():
            self.bn.bias.copy_(torch.tensor([0, 0.1, 0.2, 0.3]))  # without channel k, class 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.mean((1, 3))
        return self.bn(rows.view(len(x), 4, -1).mean(2))


def stripes(n: int = 40) -> ImageData:
    """Black images with a white quarter k for class k."""
    y = torch.arange(n) % 4
    x = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    for k in range(4):
        x[y == k, :, 2 * k : 2 * k + 2] = 255
    return ImageData(x, y, tuple("abcd"), (0.0,) * 3, (1.0,) * 3, False, 0, "stripes")


MASKS = {"bn": torch.tensor([0.1, 0.5, 1.0, 1.0])}
COMMON = {"threshold": None, "thresholds": THRESHOLDS, "judge": None}


@pytest.mark.parametrize(
    ("budget", "threshold", "pruned"), [(0.1, 0.05, 0), (0.3, 0.45, 1), (0.6, 0.9, 2), (0.25, 0.45, 1)]
)
def test_the_largest_threshold_within_the_budget(budget: float, threshold: float, pruned: int) -> None:
    """Each lost channel costs a quarter of the accuracy."""
    gate = Gate().eval()
    found, notes = prune_by_mask(gate, MASKS, budget=budget, held=stripes(), **COMMON)
    assert notes["threshold"] == threshold and notes["n_pruned"] == pruned and notes["accuracy_before"] == 100
    assert (found.bn.weight == 0).tolist() == [k < pruned for k in range(4)]
    assert torch.equal(found.bn.bias, gate.bn.bias)  # the bias stays
    assert notes["curve"][2] == [0.1, 1, 75.0] and notes["curve"][0] == [0.0, 0, 100.0]
    assert (gate.bn.weight == 1).all()


def test_nothing_within_the_budget_prunes_nothing() -> None:
    gate = Gate().eval()
    found, notes = prune_by_mask(gate, {"bn": torch.zeros(4)}, budget=0.1, held=stripes(), **COMMON)
    assert notes["threshold"] == -1 and notes["n_pruned"] == 0 and same(state(gate), state(found))


def test_the_original_choice_is_the_lowest_asr_of_the_judge() -> None:
    asked: list[int] = []

    def judge(candidate: nn.Module) -> dict[str, float]:
        gone = int((candidate.bn.weight == 0).sum())
        asked.append(gone)
        return {"c_acc": 100.0 - 6 * gone, "asr": [90.0, 20.0, 5.0][gone]}

    rest = {"threshold": None, "thresholds": THRESHOLDS, "held": None, "judge": judge}
    _, notes = prune_by_mask(Gate(), MASKS, budget=0.1, **rest)
    assert notes["threshold"] == 0.1 and notes["n_pruned"] == 1  # two channels cost 12 %
    assert "test" in notes["selection"] and asked == [0, 0, 1, 2]
    assert notes["curve"][-1] == [0.9, 2, 88.0, 5.0]


@pytest.mark.parametrize("method", ["anp", "rnp"])
def test_a_fixed_threshold_uses_every_image_and_no_judge(made: nn.Module, data: ImageData, method: str) -> None:
    pruned, notes = purify(made, clean=data, method=method, threshold=0.4, **FAST[method])
    assert notes["selection"] == "fixed" and notes["threshold"] == 0.4
    weights = torch.cat([m.weight for m in batch_norms(pruned).values()])
    assert int((weights == 0).sum()) == notes["n_pruned"]


@pytest.mark.parametrize("method", ["anp", "rnp"])
def test_a_seed_decides_and_the_model_stays(made: nn.Module, data: ImageData, method: str) -> None:
    before = state(made)
    runs = [purify(made, clean=data, method=method, seed=3, **FAST[method]) for _ in range(2)]
    assert same(state(runs[0][0]), state(runs[1][0])) and runs[0][1] == runs[1][1]
    assert same(before, state(made)) and all(w.requires_grad and w.grad is None for w in made.parameters())
    assert runs[0][1]["selection"] == "held-out clean accuracy" and not runs[0][0].training


@pytest.mark.parametrize("method", ["anp", "rnp"])
def test_the_paper_s_selection_asks_the_judge(made: nn.Module, data: ImageData, method: str) -> None:
    _, notes = purify(
        made, clean=data, method=method, selection="paper", judge=lambda m: {"c_acc": 90.0, "asr": 3.0}, **FAST[method]
    )
    assert notes["selection"].startswith("test ASR")


# ----------------------------------------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize("method", ["anp", "rnp"])
def test_no_batch_norm(data: ImageData, method: str) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with pytest.raises(NotApplicable, match=r"the model \(Sequential\) has no batch-norm layer"):
        defend(plain, clean=data, method=method)


@pytest.mark.parametrize("method", ["anp", "rnp"])
def test_too_few_images_for_a_held_out_part(made: nn.Module, data: ImageData, method: str) -> None:
    with pytest.raises(PaperlibError, match="clean holds 4 images and fewer than two of: class 0"):
        defend(made, clean=data.subset([0, 1, 2, 3]), method=method)


def test_weights_that_are_no_numbers(data: ImageData) -> None:
    broken = model(data)
    with torch.no_grad():
        broken.conv1.weight[0] = math.nan
    with pytest.raises(PaperlibError, match=r"weight 'conv1.weight' .* not finite"):
        defend(broken, clean=data, method="anp")


def test_an_ascent_that_runs_away(made: nn.Module, data: ImageData) -> None:
    with pytest.raises(PaperlibError, match=r"unlearn_lr=1e\+30 is too high"):
        defend(made, clean=data, method="rnp", unlearn_lr=1e30, unlearn_accuracy=-1.0, unlearn_epochs=3)


def test_selection_paper_without_a_judge(made: nn.Module, data: ImageData) -> None:
    with pytest.raises(PaperlibError, match="needs judge="):
        defend(made, clean=data, method="anp", selection="paper")
