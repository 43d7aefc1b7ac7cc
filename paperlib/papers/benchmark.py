"""BackdoorBench (NeurIPS 2022, arXiv 2206.12654): notebook 07; here its paper half, drawn from the published leaderboard.

8,000 cells of C-Acc, ASR and R-Acc: eight attacks, nine defenses and none, five models, five poisoning ratios, four data
sets (``paperlib/published/SOURCES.md`` says where they come from and which errors they are known to hold). A cell is one of

* a result;
* NA: the original has no value;
* collapsed: C-Acc is at most the share of the largest class of the test set, so the model knows nothing;
* copied: equal to the digit to another cell, by mistake (two blocks of Tiny ImageNet).

What is no result is shown as what it is and enters no mean.

What is drawn from the leaderboard has no experiments and is the same at every scale, and the claims are checked on the printed
numbers. Our own runs are in :mod:`paperlib.papers.benchmark_runs`, the figures that look inside models in
:mod:`paperlib.papers.benchmark_views`.

Differences from the paper
1. The numbers are those of the public leaderboard of June 2022. Axes and count equal the paper's grid; that every printed cell
   equals its cell on the leaderboard could not be checked.
2. The layout of tables and figures is ours. Numbers of figures and columns of Tables 1 and 2 are inferred where a caption says so.
3. Collapsed cells (C-Acc at most the share of the largest class) and copied ones are marked and enter no mean.
4. Means are over the attacks that have a proper result; their number is shown. LC is in them although its cells are known to be
   wrong, so that they stay means of what was printed.
5. The effect of the architecture is shown at 10 % on CIFAR-10, the overview at 5 %.
6. The hyper-parameters are our defaults, read from our code; the printed ones are not available to us.
7. t-SNE, quick learning, forgetting and altered triggers are shown for PreAct-ResNet18 on CIFAR-10 and the attacks Blended and
   BadNets, because the paper's choice is not known. GSNR is left out of quick learning.
8. The visual panels are the paper's (Tiny ImageNet, 5 %, five networks, without and with AC) at paper scale only; below it they
   show one network on the data set of the scale at 10 %. Shapley values are those of pixels, not of the last block.
"""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from paperlib.attacks import ATTACKS as OUR_ATTACKS
from paperlib.defenses import DEFENSES as OUR_DEFENSES
from paperlib.errors import choose
from paperlib.papers import PRINTED, Item, Results, benchmark_runs, benchmark_views
from paperlib.papers.benchmark_views import caption as numbered
from paperlib.papers.benchmark_views import entry
from paperlib.report import style, tables
from paperlib.report.artefact import Artefact
from paperlib.report.claims import Claim, Verdict
from paperlib.report.compare import repetition_noise
from paperlib.report.published import published

PAPER = "benchmark"
ATTACKS = ("badnets", "blended", "lc", "sig", "lf", "ssba", "input_aware", "wanet")
DEFENSES = ("none", "ft", "fp", "nad", "nc", "anp", "ac", "ss", "abl", "dbd")
MODELS = ("preact_resnet18", "vgg19", "efficientnet_b3", "mobilenet_v3_large", "densenet161")
RATIOS = (0.001, 0.005, 0.01, 0.05, 0.1)
METRICS = ("ACC", "ASR", "R-ACC")

LARGEST_CLASS = {"cifar10": 1000 / 10_000, "cifar100": 100 / 10_000, "gtsrb": 750 / 12_630, "tiny": 50 / 10_000}
"""Share of the largest class of the test set: the C-Acc of a model that always gives one answer."""

ERRORS = {
    "lc": "LC was run without its corner trigger and on perturbed test images: not comparable with a correct LC",
    "fp": "FP chose its pruning depth by the accuracy on the test set (oracle)",
    "anp": "ANP chose its threshold by the ASR on the test set (oracle)",
    "ac": "AC removed wrong images, because its clusters were not aligned with the data",
    "copied ratio": "Tiny ImageNet: this undefended row at 1 % repeats the one at 0.1 % to the digit, not in the mean",
    "copied data set": "Tiny ImageNet at 5 %: this cell repeats the one of GTSRB, not in the mean",
}
"""Known errors of the leaderboard, by attack, defense or status, in the order of the footnotes."""

COPIES = ("copied ratio", "copied data set")

CLAIMS_ON = PRINTED


# ------------------------------------------------------------------------------------------------------- the cells


@cache
def _board() -> pd.DataFrame:
    keys = ["dataset", "model", "ratio", "attack", "defense"]
    frame = published(PAPER, "leaderboard_2022").pivot(index=keys, columns="metric", values="value")
    frame = frame.reset_index().rename_axis(columns=None)
    limit = frame.dataset.map({name: round(100 * share, 2) for name, share in LARGEST_CLASS.items()})
    frame["status"] = np.select([frame.ACC.isna(), frame.ACC.le(limit)], ["NA", "collapsed"], "")
    for error, twin in (("copied ratio", {"ratio": 0.001}), ("copied data set", {"dataset": "gtsrb"})):
        at = {"copied ratio": frame.defense.eq("none") & frame.ratio.eq(0.01), "copied data set": frame.ratio.eq(0.05)}
        mine = frame[frame.dataset.eq("tiny") & at[error] & frame.status.eq("")]
        other = mine[keys].assign(**twin).merge(frame, on=keys)[list(METRICS)].to_numpy()
        copies = mine[(mine[list(METRICS)] - other).abs().lt(0.011).all(axis=1)]  # one of them was rounded anew
        frame.loc[frame.index.isin(copies.index), "status"] = error
    return frame


def board(**where: Any) -> pd.DataFrame:
    """The leaderboard, one row per cell, or the cells with the values ``where``.

    Parameters
    ----------
    where
        Of dataset, model, ratio, attack, defense: a value, or a tuple of values.

    Returns
    -------
    DataFrame
        ``dataset, model, ratio, attack, defense``, ``ACC, ASR, R-ACC`` in percent, ``status`` (empty,
        ``NA``, ``collapsed``, or one of :data:`COPIES`). A fresh copy.

    Raises
    ------
    PaperlibError
        The leaderboard has no such column or value.
    """
    frame = _board()
    for name, value in where.items():
        choose("column of the leaderboard", name, ("dataset", "model", "ratio", "attack", "defense"))
        known = {f"{v:g}" if name == "ratio" else str(v) for v in _board()[name].unique()}
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            choose(name, f"{one:g}" if isinstance(one, float) else str(one), known)
        frame = frame[frame[name].isin(values)]
    return frame.copy()


def means(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean C-Acc, ASR and R-Acc of the cells that are proper results (no status), and ``n``, how many those are."""
    grouped = frame[frame.status == ""].groupby(list(by), sort=False)
    return grouped[list(METRICS)].mean().assign(n=grouped.size())


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """ASR over the ratio: one row per data set, model, defense and attack that has a proper result at all five ratios."""
    keys = ["dataset", "model", "defense", "attack"]
    return frame[frame.status == ""].pivot(index=keys, columns="ratio", values="ASR").dropna()


# ------------------------------------------------------------------------------------------------------- wording


def _title(kind: str, name: Any) -> str:
    return f"{100 * name:g} %" if kind == "ratio" else style.title(kind, name)


def _printed(frame: pd.DataFrame) -> str:
    na, collapsed = (int((frame.status == name).sum()) for name in ("NA", "collapsed"))
    copied = int(frame.status.isin(COPIES).sum())
    more = f", {copied} copied" if copied else ""
    return f"printed numbers (leaderboard of June 2022; {len(frame):,} cells, {na} NA, {collapsed} collapsed{more})"


def _artefact(id_: str, caption: str, **content: Any) -> Artefact:
    """An item of printed numbers: the same at every scale and seed."""
    return Artefact(paper=PAPER, id=id_, kind=entry(id_).kind, scale="paper", caption=caption, **content)


def _known(frame: pd.DataFrame) -> list[str]:
    """Which of the known errors touch the cells of ``frame``, in the order of :data:`ERRORS`."""
    present = {*frame.attack, *frame.defense, *frame.status}
    return [name for name in ERRORS if name in present]


# ------------------------------------------------------------------------------------------------------- taxonomies

ATTACK_COLUMNS = ("Attack", "Attacker controls", "Trigger", "Where", "Same for all images", "Labels", "Needs first")
ATTACK_FACTS = {
    "badnets": ("training data", "visible patch", "one spot", "yes", "changed", "nothing"),
    "blended": ("training data", "a picture blended in faintly", "whole image", "yes", "changed", "one picture"),
    "lc": (
        "training data", "adversarial noise, patches in the corners", "whole image, corners", "patches only", "kept",
        "an adversarially trained model",
    ),
    "sig": ("training data", "sinusoidal stripes", "whole image", "yes", "kept", "nothing"),
    "lf": ("training data", "smooth perturbation", "whole image", "yes", "changed", "a clean model of the same kind"),
    "ssba": (
        "training data", "message hidden by a network", "whole image", "no", "changed",
        "encoder and decoder, trained on clean images",
    ),
    "input_aware": (
        "training", "pattern that a generator makes for each image", "within a generated mask", "no", "changed",
        "nothing: the generator is trained along",
    ),
    "wanet": ("training", "slight warp", "whole image", "yes (the warp)", "changed", "nothing"),
}  # fmt: skip
"""Facts about the eight attacks, in the order of :data:`ATTACK_COLUMNS`."""

DEFENSE_COLUMNS = ("Defense", "Gets", "Gives", "When", "Idea")
_MODEL = "backdoored model, 5 % clean images"
DEFENSE_FACTS = {
    "ft": (_MODEL, "model", "after training", "training on clean images alone makes the network forget"),
    "fp": (_MODEL, "model", "after training", "neurons that clean images leave silent are pruned, then fine-tuning"),
    "nad": (_MODEL, "model", "after training", "the fine-tuned model teaches its attention maps to the backdoored one"),
    "nc": (
        "backdoored model, clean images", "model, target class", "after training",
        "the smallest trigger towards each class is sought; an outlying one is unlearned",
    ),
    "anp": (_MODEL, "model", "after training", "neurons that react most to perturbed weights are pruned"),
    "ac": (
        "poisoned data", "filtered data, new model", "before and in training",
        "activations of a class form two clusters; the smaller one is dropped",
    ),
    "ss": (
        "poisoned data, target class", "filtered data, new model", "before and in training",
        "samples far along the first singular direction of the features are dropped",
    ),
    "abl": ("poisoned data", "model", "in training", "what is learned first is isolated, then unlearned"),
    "dbd": (
        "poisoned data", "model", "in training",
        "features are learned without labels; labels of samples with a large loss are ignored",
    ),
}  # fmt: skip
"""Facts about the nine defenses, in the order of :data:`DEFENSE_COLUMNS`."""


def _taxonomy(id_: str, family: str, columns: Sequence[str], facts: Mapping[str, Sequence[str]], text: str) -> Artefact:
    ours = {"attack": list(OUR_ATTACKS), "defense": list(OUR_DEFENSES)}[family]
    rows = [(style.title(family, name), *row, "yes" if name in ours else "planned") for name, row in facts.items()]
    frame = pd.DataFrame(rows, columns=[*columns, "In this repository"])
    caption = numbered(id_, f"{text} Facts in our own words; the paper's columns are inferred.")
    return _artefact(id_, caption, frame=frame, html=tables.to_html(frame, caption))


def draw_table1() -> Artefact:
    """Table 1: the eight attacks."""
    text = "The eight attacks: what the attacker controls, and what the trigger is."
    return _taxonomy("table1", "attack", ATTACK_COLUMNS, ATTACK_FACTS, text)


def draw_table2() -> Artefact:
    """Table 2: the nine defenses."""
    text = "The nine defenses: what each gets and gives, when it works, and on which idea."
    return _taxonomy("table2", "defense", DEFENSE_COLUMNS, DEFENSE_FACTS, text)


# -------------------------------------------------------------------------------------------------- hyper-parameters


def _sentences(cls: type) -> dict[str, str]:
    """The sentence that stands below each field of a dataclass in its file."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)]
    out = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            out[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return out


def _settings(id_: str, family: str, classes: Mapping[str, Callable[[], type]], names: Iterable[str]) -> Artefact:
    """Every hyper-parameter of our dataclasses with its default; methods that are not built yet say so."""
    rows: list[tuple[str, str, str, str]] = []
    for name in names:
        shown = style.title(family, name)
        if name not in classes:
            rows.append((shown, "–", "–", "not built yet"))
            continue
        cls = classes[name]()
        sentences = _sentences(cls)
        for field in dataclasses.fields(cls):
            value = f"{field.default:.4g}" if isinstance(field.default, float) else str(field.default)
            rows.append((shown, field.name, value, sentences.get(field.name, "")))
    frame = pd.DataFrame(rows, columns=[family.capitalize(), "Hyper-parameter", "Our default", "Meaning"])
    text = f"Hyper-parameters of the {family}s: our defaults, read from the code. The printed table is not available to us."
    caption = numbered(id_, text)
    return _artefact(id_, caption, frame=frame, html=tables.to_html(frame, caption))


def draw_supp_table1() -> Artefact:
    """Supplement, Table 1: hyper-parameters of the attacks."""
    return _settings("supp_table1", "attack", {name: method.load for name, method in OUR_ATTACKS.items()}, ATTACKS)


def draw_supp_table2() -> Artefact:
    """Supplement, Table 2: hyper-parameters of the defenses."""
    classes = {name: method.config_class for name, method in OUR_DEFENSES.items()}
    return _settings("supp_table2", "defense", classes, DEFENSES[1:])


# ---------------------------------------------------------------------------------------------------- result tables


def _marks(frame: pd.DataFrame) -> dict[str, str]:
    """Known error -> number of its footnote."""
    return {name: str(i) for i, name in enumerate(_known(frame), 1)}


def _cell(row: Any, metric: str, marks: Mapping[str, str]) -> str:
    if row.status == "NA":
        return "NA"
    sign = {"": "", "collapsed": "×"}.get(row.status) or marks.get(row.status, "")
    return f"{getattr(row, metric):.2f}" + (f"<sup>{sign}</sup>" if sign else "")


def _results_html(frame: pd.DataFrame, caption: str, block: str = "") -> str:
    """Attacks (and metrics) down, defenses across; one block per value of the column ``block``, if one is named."""
    marks = _marks(frame)

    def marked(family: str, name: str) -> str:
        sup = f"<sup>{marks[name]}</sup>" if name in marks else ""
        return f"{escape(style.title(family, name))}{sup}"

    head = "".join(f'<th scope="col">{marked("defense", name)}</th>' for name in DEFENSES)
    body = []
    names = {"ACC": "C-Acc", "ASR": "ASR", "R-ACC": "R-Acc"}
    for value in frame[block].unique() if block else [None]:
        part = frame if value is None else frame[frame[block] == value]
        if value is not None:
            body.append(f'<tr class="average"><th scope="rowgroup" colspan="12">{_title(block, value)}</th></tr>')
        # "R-ACC" is no name of an attribute, so rows are renamed before they are walked through.
        rows = {(r.attack, r.defense): r for r in part.rename(columns={"R-ACC": "R_ACC"}).itertuples()}
        for attack in ATTACKS:
            first = f'<th scope="rowgroup" rowspan="3">{marked("attack", attack)}</th>'
            for i, metric in enumerate(METRICS):
                texts = [_cell(rows[attack, name], metric.replace("-", "_"), marks) for name in DEFENSES]
                cells = "".join(f'<td class="n">{f"<b>{t}</b>" if metric == "ASR" else t}</td>' for t in texts)
                body.append(f"<tr>{'' if i else first}<th>{names[metric]}</th>{cells}</tr>")
        mean = means(part, ["defense"]).reindex(DEFENSES)
        for i, metric in enumerate((*METRICS, "n")):
            form = "{:.0f}" if metric == "n" else "{:.2f}"
            texts = ["–" if pd.isna(v) else form.format(v) for v in mean[metric]]
            cells = "".join(f'<td class="n">{f"<b>{t}</b>" if metric == "ASR" else t}</td>' for t in texts)
            opening = '<tr class="average"><th scope="rowgroup" rowspan="4">Mean</th>' if i == 0 else "<tr>"
            body.append(f"{opening}<th>{names.get(metric, 'attacks')}</th>{cells}</tr>")
    notes = ["Percent. All numbers are printed ones: our own runs stand in tables of their own."]
    if (frame.status == "NA").any():
        notes.append("NA: the original has no value.")
    if (frame.status == "collapsed").any():
        notes.append("×: collapsed, C-Acc is at most the share of the largest class; not in the mean.")
    notes.append("Mean: over the attacks that have a proper result; their number stands below it.")
    notes += [f"{number}: {ERRORS[name]}." for name, number in marks.items()]
    noise = {name: repetition_noise("ASR", name) for name in DEFENSES}
    apart = ", ".join(f"{style.title('defense', name)} {v:.0f}" for name, v in noise.items() if v is not None)
    notes.append(
        f"Two papers that repeated the same cells on CIFAR-10 differ in ASR by these points on average: {apart}."
    )
    return tables.fragment(caption, [f'<tr><th colspan="2"></th>{head}</tr>'], body, notes)


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tables; small ratios first."""
    order = {name: i for i, name in enumerate((*LARGEST_CLASS, *MODELS, *ATTACKS, *DEFENSES))}
    by = ["dataset", "model", "ratio", "attack", "defense"]
    return frame.sort_values(by, key=lambda column: column.map(lambda v: order.get(v, v))).reset_index(drop=True)


def result_table(dataset: str, model: str = "preact_resnet18", ratio: float = 0.1) -> Artefact:
    """C-Acc, ASR and R-Acc of every attack under every defense: any of the 100 tables of the leaderboard.

    Raises
    ------
    PaperlibError
        The leaderboard has no such data set, model or ratio.
    """
    frame = _ordered(board(dataset=dataset, model=model, ratio=ratio))
    what = f"{style.title('dataset', dataset)}, {style.title('model', model)}, {100 * ratio:g} % poisoned"
    caption = numbered(f"table_{dataset}", f"{what}: {_printed(frame)}.")
    return _artefact(f"table_{dataset}", caption, frame=frame, html=_results_html(frame, caption))


def draw_table_models() -> Artefact:
    """The other four models, CIFAR-10, 10 %."""
    frame = _ordered(board(dataset="cifar10", model=MODELS[1:], ratio=0.1))
    caption = numbered("table_models", f"The other four models, CIFAR-10, 10 % poisoned: {_printed(frame)}.")
    return _artefact("table_models", caption, frame=frame, html=_results_html(frame, caption, "model"))


def draw_table_ratios() -> Artefact:
    """The other four ratios, CIFAR-10, PreAct-ResNet18."""
    frame = _ordered(board(dataset="cifar10", model="preact_resnet18", ratio=RATIOS[:-1]))
    caption = numbered(
        "table_ratios", f"The other four poisoning ratios, CIFAR-10, PreAct-ResNet18: {_printed(frame)}."
    )
    return _artefact("table_ratios", caption, frame=frame, html=_results_html(frame, caption, "ratio"))


# ---------------------------------------------------------------------------------------------------------- figures


def _defense_title(name: str) -> str:
    return style.title("defense", name) + ("*" if name in ERRORS else "")


def _attack_title(name: str) -> str:
    return style.title("attack", name) + ("*" if name in ERRORS else "")


def _starred(frame: pd.DataFrame) -> str:
    """The end of a caption: what the star stands for."""
    return f" *: {'; '.join(ERRORS[name] for name in _known(frame) if name not in COPIES)}."


def _handle(**looks: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **looks)


def draw_fig_overview() -> Artefact:
    """Overview: C-Acc and R-Acc against ASR, 5 %, PreAct-ResNet18, one column per data set."""
    import matplotlib.pyplot as plt

    frame = _ordered(board(model="preact_resnet18", ratio=0.05))
    texts = []
    with style.context():
        figure, panels = plt.subplots(2, 4, figsize=(style.PAGE, 4.6), sharex=True, sharey="row")
        for column, dataset in zip(panels.T, LARGEST_CLASS, strict=True):
            part = frame[frame.dataset == dataset]
            for axes, metric in zip(column, ("ACC", "R-ACC"), strict=True):
                if metric == "R-ACC":
                    axes.plot([0, 100], [100, 0], color="#777777", linewidth=0.8, linestyle="--", zorder=1)
                for status, filled in (("", True), ("collapsed", False)):
                    for cell in part[part.status == status].to_dict("records"):
                        colour = style.look("attack", cell["attack"]).colour
                        axes.scatter(
                            cell["ASR"], cell[metric], s=13, marker=style.look("defense", cell["defense"]).marker,
                            facecolors=colour if filled else "none", edgecolors=colour, linewidths=0.4 if filled else 0.7,
                            alpha=0.85, zorder=2,
                        )  # fmt: skip
                axes.set(xlim=(-4, 104), ylim=(-4, 104), xticks=[0, 50, 100], yticks=[0, 25, 50, 75, 100])
            na, dead = (int((part.status == name).sum()) for name in ("NA", "collapsed"))
            more = (
                f", {int(part.status.isin(COPIES).sum())} copied"
                if part.status.isin(COPIES).any()
                else f", {dead} collapsed"
            )
            column[0].set_title(f"{style.title('dataset', dataset)}\n{na} NA{more}", fontsize=8)
            column[1].set_xlabel("ASR (%)")
            safe = part[(part.status == "") & (part.defense != "none") & (part.ASR < 10)]
            total = int(((part.status == "") & (part.defense != "none")).sum())
            texts.append(f"{style.title('dataset', dataset)} {len(safe)} of {total}")
        panels[0, 0].set_ylabel("C-Acc (%)")
        panels[1, 0].set_ylabel("R-Acc (%)")
        colours = [
            _handle(color=style.look("attack", name).colour, marker="o", linestyle="", label=_attack_title(name))
            for name in ATTACKS
        ]
        shapes = [
            _handle(
                color="#555555", marker=style.look("defense", name).marker, linestyle="", label=_defense_title(name)
            )
            for name in DEFENSES
        ]
        hollow = _handle(color="#555555", marker="o", markerfacecolor="none", linestyle="", label="collapsed")
        dashes = _handle(color="#777777", linestyle="--", linewidth=0.8, label="ASR + R-Acc = 100")
        handles = [*colours, *shapes, hollow, dashes]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7, columnspacing=1.2)
    caption = numbered(
        "fig_overview",
        "C-Acc (top) and R-Acc (bottom) against ASR; colour: attack, marker: defense; PreAct-ResNet18, 5 % poisoned, four data "
        f"sets; copied cells are left out; {_printed(frame)}.{_starred(frame)}",
    )
    alt = (
        "Eight scatter plots. A good defense lies top left; no point lies above the line ASR + R-Acc = 100. Attacked models that a "
        f"defense brings below an ASR of 10: {', '.join(texts)}."
    )
    return _artefact("fig_overview", caption, alt=alt, figure=figure, frame=frame)


def _curve_panel(axes: Any, cells: pd.DataFrame) -> None:
    """One panel: ASR over the ratio, a line per attack. Off the lines: collapsed cells as crosses, copied ones hollow."""
    for attack in ATTACKS:
        mine = cells[cells.attack == attack].set_index("ratio").reindex(RATIOS)
        look = style.look("attack", attack)
        axes.plot(
            mine.ASR.where(mine.status == "").to_numpy(),
            **{**look.plot(), "label": _attack_title(attack)}, linewidth=1, markersize=2.6,
        )  # fmt: skip
        alone = {"color": look.colour, "linestyle": ""}
        for off, looks in (
            (mine.status == "collapsed", {"marker": "x", "markersize": 3.2}),
            (mine.status.isin(COPIES), {"marker": look.marker, "markerfacecolor": "none", "markersize": 4}),
        ):
            if off.any():
                axes.plot(mine.ASR.where(off).to_numpy(), **alone, **looks)
    if (cells.status == "NA").all():
        axes.text(2, 50, "NA", ha="center", va="center", fontsize=8)
    axes.tick_params(labelsize=6.5)


def ratio_figure(id_: str, dataset: str, models: Sequence[str]) -> Artefact:
    """ASR over the poisoning ratio: a block of ten small panels per model, one per defense, a line per attack."""
    import matplotlib.pyplot as plt

    frame = _ordered(board(dataset=dataset, model=tuple(models)))
    with style.context():
        lines = 2 * len(models)
        size = (style.PAGE, 3.4 if len(models) == 1 else 1.17 * lines + 0.5)
        figure, panels = plt.subplots(lines, 5, figsize=size, sharex=True, sharey=True)
        for k, model in enumerate(models):
            for axes, defense in zip(panels[2 * k : 2 * k + 2].flat, DEFENSES, strict=True):
                _curve_panel(axes, frame[(frame.model == model) & (frame.defense == defense)])
                axes.set_title(_defense_title(defense), fontsize=7.5, pad=2)
            name = f"({'abcd'[k]}) {style.title('model', model)}\n" if len(models) > 1 else ""
            panels[2 * k, 0].set_ylabel(f"{name}ASR (%)", fontsize=7)
            panels[2 * k + 1, 0].set_ylabel("ASR (%)", fontsize=7)
        for axes in panels[-1]:
            axes.set_xlabel("poisoning ratio (%)", fontsize=7)
        panels[0, 0].set(  # all panels share them
            ylim=(-5, 105), yticks=[0, 50, 100], xlim=(-0.3, 4.3), xticks=range(5),
            xticklabels=[f"{100 * ratio:g}" for ratio in RATIOS],
        )  # fmt: skip
        handles = panels[0, 0].get_legend_handles_labels()[0]
        if (frame.status == "collapsed").any():
            handles.append(_handle(color="#555555", marker="x", linestyle="", label="collapsed"))
        if frame.status.isin(COPIES).any():
            hollow = {"color": "#555555", "marker": "o", "markerfacecolor": "none", "linestyle": ""}
            handles.append(_handle(**hollow, label="copied"))
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7)
    shown = ", ".join(style.title("model", model) for model in models)
    caption = numbered(
        id_,
        f"ASR over the poisoning ratio (ratios equally spaced) without and with nine defenses; {style.title('dataset', dataset)}, "
        f"{shown}; {_printed(frame)}.{_starred(frame)}",
    )
    return _artefact(id_, caption, alt=_ratio_alt(frame, models), figure=figure, frame=frame)


def _ratio_alt(frame: pd.DataFrame, models: Sequence[str]) -> str:
    whole = curves(frame)
    texts = []
    for model in models:
        mean = whole.xs(model, level="model").groupby(level="defense", sort=False).mean()
        parts = [
            f"{style.title('defense', name)} {', '.join(f'{v:.0f}' for v in mean.loc[name])}"
            for name in DEFENSES
            if name in mean.index
        ]
        texts.append(f"{style.title('model', model)}: {'; '.join(parts)}")
    return (
        "Small panels, one per defense, with a line per attack. Mean ASR at 0.1, 0.5, 1, 5 and 10 %, over the attacks that have a "
        f"proper result at all five ratios. {'. '.join(texts)}."
    )


def architecture_figure(dataset: str = "cifar10", ratio: float = 0.1) -> Artefact:
    """Heat-maps of the ASR: a panel per defense, attacks down, models across."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    frame = _ordered(board(dataset=dataset, ratio=ratio))
    with style.context():
        figure, panels = plt.subplots(2, 5, figsize=(style.PAGE, 4.6), sharex=True, sharey=True)
        for axes, defense in zip(panels.flat, DEFENSES, strict=True):
            mine = frame[frame.defense == defense].set_index(["attack", "model"])
            proper = mine.ASR.where(mine.status == "").unstack()
            image = axes.imshow(
                proper.loc[list(ATTACKS), list(MODELS)],
                vmin=0, vmax=100, cmap="cividis", aspect="auto",
            )  # fmt: skip
            absent = [[mine.status[a, m] or None for m in MODELS] for a in ATTACKS]
            mask = np.array([[np.nan if status is None else 0 for status in row] for row in absent])
            axes.imshow(mask, cmap=ListedColormap(["#dddddd"]), aspect="auto")
            for i, attack in enumerate(ATTACKS):
                for j, model in enumerate(MODELS):
                    value, status = mine.ASR[attack, model], mine.status[attack, model]
                    text = {"": f"{value:.0f}", "NA": "NA", "collapsed": "×"}.get(status, "=")
                    colour = "black" if status or value > 50 else "white"
                    axes.text(j, i, text, ha="center", va="center", fontsize=5.5, color=colour)
            axes.set_title(_defense_title(defense), fontsize=8, pad=2)
            axes.set_xticks(
                range(len(MODELS)), [style.title("model", name) for name in MODELS], rotation=90, fontsize=6.5
            )
            axes.set_yticks(range(len(ATTACKS)), [_attack_title(name) for name in ATTACKS], fontsize=7)
            axes.grid(False)
            axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=panels, shrink=0.6, pad=0.01)
        bar.set_label("ASR (%)")
        bar.outline.set_visible(False)
    mean = means(frame, ["model", "defense"]).ASR
    parts = [
        f"{style.title('defense', name)} {', '.join('NA' if np.isnan(v) else f'{v:.0f}' for v in (mean.get((m, name), np.nan) for m in MODELS))}"
        for name in DEFENSES
    ]
    caption = numbered(
        "fig_architecture",
        f"ASR of every attack under each defense for five models; {style.title('dataset', dataset)}, {100 * ratio:g} % poisoned; "
        f"×: collapsed, =: copied; {_printed(frame)}.{_starred(frame)}",
    )
    alt = f"Ten heat-maps. Mean ASR for {', '.join(style.title('model', m) for m in MODELS)}: {'; '.join(parts)}."
    return _artefact("fig_architecture", caption, alt=alt, figure=figure, frame=frame)


def _no_specs(scale: Any, seed: int) -> list[Any]:
    return []


def _item(draw: Callable[..., Artefact], *arguments: Any) -> Item:
    return Item(_no_specs, lambda results: draw(*arguments))


ITEMS: dict[str, Item] = {
    "table1": _item(draw_table1),
    "table2": _item(draw_table2),
    "supp_table1": _item(draw_supp_table1),
    "supp_table2": _item(draw_supp_table2),
    **{f"table_{name}": _item(result_table, name) for name in LARGEST_CLASS},
    "table_models": _item(draw_table_models),
    "table_ratios": _item(draw_table_ratios),
    "fig_overview": _item(draw_fig_overview),
    "fig_ratio": _item(ratio_figure, "fig_ratio", "cifar10", MODELS[:1]),
    "fig_architecture": _item(architecture_figure),
    "fig9": _item(ratio_figure, "fig9", "cifar10", MODELS[1:]),
    **{
        f"fig_ratio_{name}": _item(ratio_figure, f"fig_ratio_{name}", name, MODELS[:1])
        for name in ("cifar100", "gtsrb", "tiny")
    },
    **benchmark_views.ITEMS,
}


whole_grid = benchmark_runs.whole_grid
OURS = {**benchmark_runs.ITEMS, **benchmark_views.OURS}

# ----------------------------------------------------------------------------------------------------------- claims


def _mean_curves(dataset: str, model: str) -> dict[str, list[float]]:
    """Defense -> mean ASR at each of :data:`RATIOS`, over the attacks that have a proper result at all of them."""
    mean = curves(board(dataset=dataset, model=model)).groupby(level="defense").mean()
    return {str(name): row.tolist() for name, row in zip(mean.index, mean.to_numpy(), strict=True)}


def check_rises_then_falls(_: Results) -> Verdict:
    """The mean ASR after FT, FP, NAD and NC rises up to 5 % and is lower at 10 %."""
    mean, holds = _mean_curves("cifar10", "preact_resnet18"), True
    numbers: dict[str, float] = {}
    for name in ("ft", "fp", "nad", "nc"):
        curve = mean[name]
        holds &= curve[:4] == sorted(curve[:4]) and curve[4] < curve[3]
        shown = {_title("ratio", RATIOS[i]): curve[i] for i in (0, 3, 4)}
        numbers |= {f"{style.title('defense', name)} at {ratio}": value for ratio, value in shown.items()}
    after_ft = [_mean_curves(dataset, model)["ft"] for dataset in LARGEST_CLASS for model in MODELS]
    falls = sum(curve[4] < curve[3] for curve in after_ft)
    numbers["pairs of data set and model (of 20) where FT falls from 5 to 10 %"] = falls
    reason = (
        "mean ASR of eight attacks on CIFAR-10, PreAct-ResNet18; a single cell after FT, FP, NAD or NC differs by "
        f"{min(repetition_noise('ASR', d) or 0 for d in ('ft', 'fp', 'nad', 'nc')):.0f} to "
        f"{max(repetition_noise('ASR', d) or 0 for d in ('ft', 'fp', 'nad', 'nc')):.0f} points between two papers"
    )
    return Verdict(holds, reason, numbers)


def check_undefended_grows(_: Results) -> Verdict:
    """Without a defense the ASR of every attack grows with the ratio."""
    whole = curves(board(dataset="cifar10", model="preact_resnet18", defense="none"))
    growing = whole.apply(lambda curve: curve.is_monotonic_increasing, axis=1)
    numbers = {f"mean at {_title('ratio', r)}": v for r, v in zip(RATIOS, whole.mean().tolist(), strict=True)}
    numbers["attacks (of 8) whose ASR grows at every step"] = float(growing.to_numpy().sum())
    return Verdict(bool(growing.all()), "every attack on CIFAR-10, PreAct-ResNet18", numbers)


def check_some_grow_some_fall(_: Results) -> Verdict:
    """Under a defense some curves grow up to 10 %, others end at least 20 points below their peak."""
    whole = curves(board(dataset="cifar10", model=MODELS[1:], defense=DEFENSES[1:]))
    drop = whole.max(axis=1) - whole[0.1]
    numbers = {
        "curves": float(len(whole)),
        "with their peak at 10 %": float((drop == 0).sum()),
        "20 points below their peak at 10 %": float((drop >= 20).sum()),
    }
    holds = min(numbers["with their peak at 10 %"], numbers["20 points below their peak at 10 %"]) >= len(whole) / 10
    return Verdict(
        holds, "the other four models on CIFAR-10; each kind must be at least a tenth of the curves", numbers
    )


def check_filters_fail(_: Results) -> Verdict:
    """At 10 % AC and SS leave the mean ASR within 10 points of the undefended one."""
    mean = means(board(dataset="cifar10", model="preact_resnet18", ratio=0.1), ["defense"]).ASR
    numbers = {style.title("defense", name): float(mean[name]) for name in ("none", "ac", "ss")}
    holds = all(mean["none"] - mean[name] < 10 for name in ("ac", "ss"))
    return Verdict(
        holds, "mean ASR of eight attacks, CIFAR-10, PreAct-ResNet18, 10 %; AC dropped wrong images", numbers
    )


def check_anp_lowest(_: Results) -> Verdict:
    """At 10 % the mean ASR after ANP is the lowest of the nine defenses."""
    mean = means(board(dataset="cifar10", model="preact_resnet18", ratio=0.1), ["defense"]).ASR.drop("none")
    second = str(mean.drop("anp").idxmin())
    numbers = {"ANP": float(mean["anp"]), f"next, {style.title('defense', second)}": float(mean[second])}
    reason = (
        "mean ASR of eight attacks, CIFAR-10, PreAct-ResNet18, 10 %; ANP chose its threshold by this very ASR (oracle)"
    )
    return Verdict(bool(mean.idxmin() == "anp"), reason, numbers)


CLAIMS: list[Claim] = [
    Claim(
        "rises_then_falls", PAPER, "The ASR rises with the poisoning ratio, then falls, after FT, FP, NAD and NC.",
        "Figure 3 (number inferred)", check_rises_then_falls,
    ),
    Claim(
        "undefended_grows", PAPER, "Without a defense the ASR grows with the poisoning ratio.",
        "Figure 3 (number inferred)", check_undefended_grows,
    ),
    Claim(
        "some_grow_some_fall", PAPER, "Under a defense some curves grow with the ratio, others rise and then drop sharply.",
        "Figure 9", check_some_grow_some_fall,
    ),
    Claim(
        "filters_fail", PAPER, "AC and SS fail at 10 % poisoning.", "results on CIFAR-10", check_filters_fail,
    ),
    Claim("anp_lowest", PAPER, "Of the nine defenses ANP leaves the lowest ASR.", "results on CIFAR-10", check_anp_lowest),
]  # fmt: skip
