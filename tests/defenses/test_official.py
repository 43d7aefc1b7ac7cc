"""The golden steps of the public code, against the functions that take the same steps here: every array of every file.

The sizes and settings are the files' own. Images come in the files' orders: torch.randperm is told them.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_steps import Golden, close, golden
from torch import Tensor, nn

from paperlib.defenses import anp, ft_sam, i_bau, nad, npd, sau
from paperlib.defenses.pruning import batch_norms
from paperlib.training import SCHEDULES, Recipe, fit, loss_function

INNER = "inner."
"""Before the names of the layers: what normalises stands around the file's network."""


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the public code was run."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)


def told(monkeypatch: pytest.MonkeyPatch, orders: list[Tensor]) -> Iterator[Tensor]:
    """From here on torch.randperm gives ``orders``, one after the other; the iterator that is returned says what is
    left."""
    left = iter(orders)

    def randperm(n: int, **_: Any) -> Tensor:
        order = next(left)
        assert len(order) == n
        return order

    monkeypatch.setattr(torch, "randperm", randperm)
    return left


def compare(model: nn.Module, g: Golden, group: str, rtol: float = 1e-4) -> None:
    """Weights of ``model``, and running statistics where ``group`` has them, are those of the arrays ``group.*``."""
    state = {name.removeprefix(INNER): value for name, value in model.state_dict().items()}
    wanted = g.group(group)
    assert wanted
    for name, value in wanted.items():
        close(state[name], value, f"{group}.{name}", rtol)


# ----------------------------------------------------------------------------------------------------------------- NPD


def npd_config(g: Golden) -> npd.NPD:
    s = g.settings
    return npd.NPD(
        epochs=s["epochs"],
        warm_up=s["warm_up"],
        batch_size=s["batch_size"],
        lr=s["lr"],
        warm_up_lr=s["warm_up_lr"],
        rho=s["rho"],
        steps=s["steps"],
        step=s["step"],
        stop=s["stop"],
        layer=INNER + s["layer"],
        bce_label=s["label_of_bce1"],
        logarithm="guarded",
        **{name: s[name] for name in ("lambda_bn", "lambda_asr", "lambda_bce1", "lambda_bce2")},
    )


@pytest.mark.parametrize("file", ["npd_high", "npd_low"])
def test_npd(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden(file)
    config, data = npd_config(g), g.images()
    left = told(monkeypatch, [g["order_warm_up"], g["order"]])
    whole, _ = npd.npd(g.network(), data, config)  # the method itself, from the first step to the last
    assert next(left, None) is None
    polarizer: Any = npd.place(whole, config.layer).polarizer
    for name, value in g.group("polarizer").items():
        close(polarizer.state_dict()[name], value, f"polarizer.{name}")

    model = npd.insert(g.network().requires_grad_(False), config)
    polarizer = npd.place(model, config.layer).polarizer
    told(monkeypatch, [g["order_warm_up"]])
    npd.warm_up(model, data, config, torch.Generator())
    for name, value in g.group("polarizer_after_warm_up").items():
        close(polarizer.state_dict()[name], value, f"polarizer_after_warm_up.{name}")
    polarizer.eval().requires_grad_(True)
    optimizer = torch.optim.SGD(
        polarizer.parameters(), config.lr, momentum=g.settings["momentum"], weight_decay=g.settings["weight_decay"]
    )
    victim = g.network()
    delta, x_adv, fooled, taken, right, target, predicted = ([] for _ in range(7))
    found: dict[str, list[Tensor]] = {name: [] for name in g.group("losses")}
    for i, index in enumerate(g.parts(g["order"])):
        x, y = data.float(index), data.y[index]
        with torch.no_grad():
            logits = model(x)
        attacked = npd.runner_up(logits, y)
        target.append(attacked)
        predicted.append(logits.argmax(1))
        with torch.no_grad():
            right.append((victim(x).argmax(1) == y).double().mean())
        delta.append(npd.perturbation(model, x, attacked, config))
        with torch.no_grad():
            fooled.append((model((x + delta[-1]).clamp(0, 1)).argmax(1) == attacked).double().mean())
        tried = [npd.perturbation(model, x, attacked, replace(config, steps=n + 1)) for n in range(config.steps)]
        taken.append(1 + next(n for n, one in enumerate(tried) if torch.equal(one, delta[-1])))
        made, parts = npd.outer_step(model, x, y, optimizer, config)
        x_adv.append((made - g.settings["mean"]) / g.settings["std"])
        for name, value in parts.items():
            found[name].append(value)
        found["total"].append(sum(getattr(config, f"lambda_{n}") * v for n, v in parts.items()))
        close(polarizer[0].weight.flatten(1), g["polarizer_weight_after_step"][i], f"polarizer after step {i + 1}")
    close(torch.cat(delta), g["delta"], "delta")
    close(torch.cat(x_adv), g["x_perturbed_normalised"], "x_perturbed_normalised")
    close(torch.stack(right), g["batch_clean_accuracy"], "batch_clean_accuracy")
    close(torch.stack(fooled), g["fooled_share"], "fooled_share")
    assert taken == g["inner_steps_taken"].tolist()
    assert torch.equal(torch.cat(target), g["target"]) and torch.equal(torch.cat(predicted), g["predicted"])
    for name, values in found.items():
        close(torch.stack(values), g[f"losses.{name}"], f"losses.{name}")


# -------------------------------------------------------------------------------------------------------------- FT-SAM


def test_ft_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden("ft_sam")
    s, data, model = g.settings, g.images(), g.network()
    classes = data.n_classes
    schedule = SCHEDULES["official_cyclic"]
    n = len(g["lr_first_250_steps"])
    close([s["lr"] * schedule(i, 1, n) for i in range(n)], g["lr_first_250_steps"], "lr_first_250_steps")
    # the first step, by its parts
    (index, *_) = g.parts(g["orders"][0])
    weights = list(model.parameters())
    loss = loss_function(s["label_smoothing"])
    gradients = torch.autograd.grad(loss(model.train()(data.float(index)), data.y[index]).mean(), weights)
    epsilon = ft_sam.perturbation([w.detach() for w in weights], list(gradients), s["rho"], s["adaptive"])
    for (name, _), value in zip(model.named_parameters(), epsilon, strict=True):
        close(value, g[f"epsilon_step1.{name.removeprefix(INNER)}"], f"epsilon_step1.{name}")
    # all of them, by the method
    config = ft_sam.FTSAM(
        rho=s["rho"],
        adaptive=s["adaptive"],
        epochs=s["epochs"],
        batch_size=s["batch_size"],
        lr=s["lr"],
        label_smoothing=s["label_smoothing"],
    )
    steps: list[tuple[float, float]] = []
    sam_step = ft_sam.sam_step

    def recorded(*given: Any) -> Any:
        inner = sam_step(*given)

        def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
            losses = inner(model, x, y, optimizer)
            steps.append((optimizer.param_groups[0]["lr"], losses.mean().item()))
            if len(steps) == 1:
                compare(model, g, "weights_after_step1")
            return losses

        return step

    monkeypatch.setattr(ft_sam, "sam_step", recorded)
    told(monkeypatch, list(g["orders"]))
    made, _ = ft_sam.ft_sam(g.network(), data, config)
    compare(made, g, "final")
    close([lr for lr, _ in steps], g["lr_at_step"], "lr_at_step")
    smooth = torch.full((classes,), s["label_smoothing"] / (classes - 1)).double()
    smooth[0] = 1 - s["label_smoothing"]
    entropy = -(smooth * smooth.log()).sum().item()  # the public loss is the divergence from the smoothed label
    close([value - entropy for _, value in steps], g["loss_at_step"], "loss_at_step")


# ----------------------------------------------------------------------------------------------------------------- NAD


def test_nad(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden("nad")
    s, data = g.settings, g.images()
    layers, betas = [INNER + name for name in s["layers"]], [float(beta) for beta in s["betas"]]
    config = nad.NAD(batch_size=s["batch_size"], lr=s["lr"], betas=tuple(betas), layers=tuple(layers))
    student, teacher = g.network("student"), g.network("teacher").requires_grad_(False)
    inner = nad.student_step(teacher, layers, betas, len(data), config)
    ce, terms = [], []

    def step(model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        with torch.no_grad():
            state = {name: value.clone() for name, value in model.state_dict().items()}
            terms.append(nad.distillation(model, teacher, layers, [1.0] * len(layers), x)[1])
            model.load_state_dict(state)
        losses = inner(model, x, y, optimizer)
        ce.append(losses.mean())
        compare(model, g, f"student_weights_after_step{len(ce)}")
        return losses

    told(monkeypatch, [g["order"]])
    recipe = Recipe(1, s["batch_size"], s["lr"], "constant", momentum=s["momentum"], weight_decay=s["weight_decay"])
    fit(student, data, recipe, seed=0, step=step, partial=True)
    close(torch.stack(ce), g["loss_ce"], "loss_ce")
    close(torch.stack(terms), g["loss_at_unweighted"], "loss_at_unweighted", atol=1e-12)
    close(torch.stack(terms) * torch.tensor(betas), g["loss_at_weighted"], "loss_at_weighted", atol=1e-9)
    weights = {name.removeprefix(INNER) for name, _ in student.named_parameters()}
    after = {name.removeprefix(INNER): value for name, value in student.state_dict().items()}
    for name, value in g.group("student_after_epoch").items():
        if name in weights:
            close(after[name], value, f"student_after_epoch.{name}")

    # the public student is passed whole and cut after each layer: statistics move so often per step, by the same batch
    often = g.network("student")
    for name, norm in batch_norms(often).items():
        block = name.removeprefix(INNER).partition(".")[0]
        passes = 1 + len(s["layers"]) - s["layers"].index(block)
        norm.momentum = 1 - (1 - norm.momentum) ** passes
    told(monkeypatch, [g["order"]])
    fit(often, data, recipe, seed=0, step=nad.student_step(teacher, layers, betas, len(data), config), partial=True)
    compare(often, g, "student_after_epoch")

    lrs = g["lr_teacher_epochs"]
    close([s["lr"] * SCHEDULES["cosine_100"](i, 1, len(lrs)) for i in range(len(lrs))], lrs, "lr_teacher_epochs")
    assert len(lrs) == nad.NAD().teacher_epochs and len(g["lr_student_epochs"]) == nad.NAD().epochs
    for name, lr in (("lr_student_epochs", s["lr"]), ("lr_student_40_epochs_if_lr_is_0p05", 0.05)):
        close([nad.student_lr(epoch, replace(config, lr=lr)) for epoch in range(len(g[name]))], g[name], name)


# --------------------------------------------------------------------------------------------------------------- i-BAU


def test_i_bau(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden("i_bau")
    s, data, model = g.settings, g.images(), g.network()
    unit = torch.tensor(data.std).view(1, -1, 1, 1)
    config = i_bau.IBAU(
        rounds=s["rounds"],
        batch_size=s["batch_size"],
        lr=s["lr"],
        inner_lr=s["inner_lr"],
        penalty=s["penalty"],
        portion=s["portion"],
        iterations=s["K"],
        map_lr=s["map_lr"],
    )
    delta = torch.zeros_like(g["delta"])
    for index in g.parts(g["order_inner"]):
        delta = i_bau.raised(model, delta, data.float(index), unit, config)
    close(delta, g["delta"], "delta")
    outer_parts = g.parts(g["order_outer"])
    first = outer_parts[0]
    for i, index in enumerate(outer_parts):
        if i:
            model.load_state_dict(
                {**model.state_dict(), **{INNER + n: w for n, w in g.group(f"weights_after_step{i}").items()}}
            )
        weights = list(model.parameters())
        outer = i_bau.outer_objective(model, data.float(index), data.y[index], g["patched"][i], unit)
        inner = i_bau.inner_objective(model, data.float(first), data.y[first], unit, config.penalty)
        d = delta.clone().requires_grad_()
        (slope,) = torch.autograd.grad(outer(d), d)
        close(slope, g["outer_gradient_of_delta"][i][None], "outer_gradient_of_delta")
        whole, value = i_bau.hypergradient(outer, inner, delta, weights, config.iterations, config.map_lr)
        direct, _ = i_bau.hypergradient(outer, inner, delta, weights, config.iterations, 0.0)
        close(value, g["outer_loss"][i], "outer_loss")
        for (name, _), a, b in zip(model.named_parameters(), whole, direct, strict=True):
            name = name.removeprefix(INNER)
            theirs, plain = g[f"hypergradient_batch{i + 1}.{name}"], g[f"direct_gradient_batch{i + 1}.{name}"]
            close(a, theirs, f"hypergradient_batch{i + 1}.{name}")
            close(b, plain, f"direct_gradient_batch{i + 1}.{name}")
            rounding = 1e-6 * plain.abs().max().item()  # of a difference of two float32 numbers
            close(a - b, theirs - plain, f"the map's part of batch {i + 1}, {name}", 5e-2, rounding)
    # the method itself
    carried = [
        F.one_hot(p, len(part)).sum(0).argsort(descending=True)
        for p, part in zip(g["patched"], outer_parts, strict=True)
    ]
    left = told(monkeypatch, [g["order_outer"], g["order_inner"], *carried])
    made, _ = i_bau.i_bau(g.network(), data, config)
    assert next(left, None) is None
    compare(made, g, f"weights_after_step{len(outer_parts)}")


# ----------------------------------------------------------------------------------------------------------------- SAU


def sau_config(g: Golden) -> sau.SAU:
    names = ("eps", "step", "steps", "init", "norm", "lambda_3", "lambda_4")
    more = {"lambda_1", "lambda_2", "lr", "batch_size"} & set(g.settings)
    return sau.SAU(epochs=g.settings.get("rounds", 1), **{name: g.settings[name] for name in (*names, *more)})


class Watched:
    """What :func:`sau.shared_objective` gives, in the terms and signs of the file; a sample that is shared left the
    batch before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: sau.SAU) -> None:
        self.adv, self.share, self.total, self.shared = ([] for _ in range(4))
        self.n = 0
        objective = sau.shared_objective

        def shared_objective(*given: Any) -> tuple[Tensor, Tensor]:
            *args, _, _ = given
            value, shared = objective(*given)
            self.adv.append(-objective(*args, 1.0, 0.0)[0].sum() / self.n)
            self.share.append(-objective(*args, 0.0, 1.0)[0].sum() / self.n)
            self.total.append(-value.sum() / self.n)
            self.shared.append((self.n - len(shared) + int(shared.sum())) / self.n)
            return value, shared

        monkeypatch.setattr(sau, "shared_objective", shared_objective)


def test_sau_inner(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden("sau_inner")
    data, model, reference, config = g.images(), g.network("theta"), g.network("reference"), sau_config(g)
    watched = Watched(monkeypatch, config)
    watched.n = len(data)
    x = data.float()
    with torch.no_grad():
        own = reference(x).argmax(1)
    close(sau.perturb(model, reference, x, data.y, own, config) - x, g["delta"], "delta")
    close(torch.stack(watched.adv), g["L_adv"], "L_adv")
    close(torch.stack(watched.share), g["L_share"], "L_share", atol=1e-6)
    close(torch.stack(watched.total), g["total"], "total", atol=1e-6)
    close(watched.shared, g["shared_share_before_step"], "shared_share_before_step")


def test_sau(monkeypatch: pytest.MonkeyPatch) -> None:
    g = golden("sau")
    data, config = g.images(), sau_config(g)
    watched = Watched(monkeypatch, config)
    delta, batch, cl, sar, at = ([] for _ in range(5))
    perturb, outer_losses = sau.perturb, sau.outer_losses

    def perturbed(model: nn.Module, reference: nn.Module, x: Tensor, *more: Any) -> Tensor:
        watched.n, before = len(x), len(watched.total)
        if cl:
            compare(model, g, f"weights_after_step{len(cl)}")
        x_adv = perturb(model, reference, x, *more)
        delta.append(x_adv - x)
        batch.extend([len(cl)] * (len(watched.total) - before))
        return x_adv

    def losses(model: nn.Module, *more: Any) -> tuple[Tensor, Tensor]:
        *args, given = more
        found = outer_losses(model, *args, given)
        at.append(outer_losses(model, *args, replace(given, outer="vanilla"))[1].detach())
        cl.append(found[0].detach())
        sar.append(found[1].detach())
        return found

    monkeypatch.setattr(sau, "perturb", perturbed)
    monkeypatch.setattr(sau, "outer_losses", losses)
    told(monkeypatch, [g["order"]])
    made, _ = sau.sau(g.network(), data, config)
    compare(made, g, f"weights_after_step{len(cl)}")
    close(torch.cat(delta), g["delta"], "delta")
    offset = int(g["inner_batch"].min())
    assert [b + offset for b in batch] == g["inner_batch"].tolist()
    close(torch.stack(watched.adv), g["inner_L_adv"], "inner_L_adv")
    close(torch.stack(watched.share), g["inner_L_share"], "inner_L_share", atol=1e-6)
    close(torch.stack(watched.total), g["inner_total"], "inner_total", atol=1e-6)
    close(watched.shared, g["inner_shared_share_before_step"], "inner_shared_share_before_step")
    close(torch.stack(cl), g["outer_L_cl"], "outer_L_cl")
    close(torch.stack(sar), g["outer_L_sar"], "outer_L_sar")
    close(torch.stack(at), g["outer_L_at_unused"], "outer_L_at_unused")
    total = config.lambda_1 * torch.stack(cl) + config.lambda_2 * torch.stack(sar)
    close(total, g["outer_total"], "outer_total")


# ----------------------------------------------------------------------------------------------------------------- ANP


def test_anp() -> None:
    g = golden("anp")
    s, data = g.settings, g.images()
    config = anp.ANP(**{name: s[name] for name in ("epsilon", "steps", "alpha", "batch_size", "lr", "iterations")})
    for run, start in enumerate(g["initial_masks"]):
        model = g.network().train().requires_grad_(False)
        norms = batch_norms(model)
        mask = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([mask], config.lr, momentum=s["momentum"])
        found: dict[str, list[Tensor]] = {"natural": [], "robust": [], "total": []}
        for i, index in enumerate(g["index"]):
            noise = g["noise_start"][run, i]
            parts = anp.mask_step(model, norms, mask, noise, data.float(index), data.y[index], optimizer, config)
            close(mask, g["masks_after_iteration"][run, i], f"masks of run {run} after iteration {i + 1}")
            for name, value in parts.items():
                found[name].append(value)
        close(mask, g["masks"][run], f"masks of run {run}")
        for name, values in found.items():
            close(torch.stack(values), g[f"loss_{name}"][run], f"loss_{name} of run {run}")
