"""What the marks in a figure mean, and where its printed counterpart is: the end of every figure's caption.

A figure's function says what it shows and of which data; the notebook adds what ran (scale, seeds, methods) and the
command that draws it again. Here stands what a reader cannot know from the face of the figure.
"""

from paperlib.report.published import inventory, published

_BARS = "Bars: ASR in percent, one for each kind of image; grey is the clean image, so it should stay low."
_CAM = (
    "Columns: the image as it is, and with each trigger; rows: the image, then a model each. Bright: where the answer"
    " comes from; below each map the predicted class."
)
_TSNE = "Each dot is a training image, its colour the label; black crosses are poisoned images. Axes have no unit."
_BOXES = (
    "Filled boxes: ours, quartiles over the splits with the median as a black line and whiskers; hatched boxes below:"
    " printed. The sign at the right edge of a row judges our median."
)
_CURVES = (
    "Dotted, dashed and solid only tell the attacks apart. Crosses off the lines: collapsed networks; hollow markers"
    " off the lines: copied cells; neither is joined to a line."
)
_CLEAN_POISONED = "Clean and poisoned differ in colour and line: solid is clean, dashed is poisoned."
_TWO_CURVES = "The two colours are the models."
_COLUMNS = "Each column is a model."
_MODELS_TOP = "Top: the clean image; below: the same with the trigger."

MARKS: dict[str, dict[str, str]] = {
    "vdc": {
        "fig2": "Bars: mean over the sets; in brackets: how many questions were asked.",
        "fig3": "Each column is a trigger. The difference is amplified by 2.5 around grey; below it its mean.",
        "roc": "Each line is a set, dashed ones only to tell them apart; on it the marker (a cross for some sets).",
        "threshold": "Solid: the vote; dashed: the mean logit.",
        "gallery": "Each picture with its label, its true class and the score; a low score is suspicious.",
        "slipped": "Markers below the curves: a detector each, crosses among them, at the number of images it misses.",
    },
    "sau": {
        "fig1": "A point is an epoch; the risks are fractions of images.",
        "fig2": "Height of a bar: the share of images for which the search succeeds; colour and hatch: the type.",
        "fig3": "A point is an epoch; A+B is SAU, C+D plain adversarial training.",
        "fig4": "Box: quartiles, with the median as a line; n is the number of images; outliers are left out.",
        "fig5": "A point is an epoch; the risks are fractions of images.",
        "our_reactivation": _BARS,
    },
    "selection": {
        "fig_overview": "Arrows: in which order an attacker works.",
        "fig_surrogate": "Bars: mean over seeds; error bars: standard deviation.",
        "fig_rounds": "Markers: mean over seeds; error bars: standard deviation.",
        "fig_selected": "Each row is a strategy. A large margin: the victim is sure.",
        "fig_loss": "Each line is a strategy, dashed or solid only to tell them apart; the axis is logarithmic.",
        "asr": (
            "Error bars: standard deviation; grey: where random selection leaves room in both directions; points are"
            " moved sideways so that the bars can be told apart; dashed only tells strategies apart."
        ),
        "place": "Dots: other images; rings: selected images as they are; crosses: the same with the trigger.",
        "overlap": "Paler lines: fewer images per class. Solid or dashed: the strategy.",
        "per_class": "Bars: mean over seeds, a colour for each strategy.",
    },
    "polarizer": {
        "fig1": "Solid arrows: what passes; dotted line: what is blocked.",
        "fig2": "Hollow boxes: frozen; the filled box is trained.",
        "fig3": "Solid: C-Acc; dashed: ASR.",
        "fig4": (
            "Each column is a kind of image; × : by how much its change is amplified. The map is bright where it "
            "is large. Printed: 36.4 for a targeted and 93.84 for an untargeted perturbation."
        ),
        **dict.fromkeys(("fig5", "fig6", "fig7"), _CAM),
        "our_reactivation": _BARS,
    },
    "ft_sam": {
        "fig1": f"{_TSNE} Right: histograms and density curves of the norms; dashed: after FT.",
        "fig2": f"{_TSNE} Bars: neurons from the largest norm to the smallest; right: a dot is a neuron.",
        "fig3": "Solid: C-Acc; dashed: ASR; dotted: DER.",
        "fig4": "A dot is a neuron; rank corr.: Spearman's rank correlation of the two axes.",
        "fig5": "Histograms and density curves, a colour and a line for each model.",
        "fig6": (
            "Bars: neurons, the largest TAC last; lines: an attack each, dashed only to tell them apart; dots: neurons."
        ),
        "fig7": _CAM,
        "our_reactivation": _BARS,
    },
    "mp_fair_regression": {
        **dict.fromkeys(("fig1", "fig3", "fig5", "fig6", "fig8", "fig9", "fig10"), _BOXES),
        **dict.fromkeys(
            ("fig2", "fig7"),
            "Lines: ours, solid or dashed by method; hollow markers: printed vertices. The left end of a line is the"
            " ordinary fit, SMD 0 is the fair one.",
        ),
        **dict.fromkeys(
            ("fig4", "fig13"), "Solid and dashed: the two groups; gap: distance of the two vertical lines."
        ),
        **dict.fromkeys(
            ("fig11", "fig12"), "Solid: training rows; dashed: test rows. The vertical axes are logarithmic."
        ),
        **dict.fromkeys(
            ("demo_linear", "demo_kernel"),
            "Filled boxes: ours; hatched boxes below: a rerun of the authors' code. =: equal, ·: not judged.",
        ),
        "scaling": "A marker is a median; both axes are logarithmic. Dashed: with 25 levels of the tradeoff.",
    },
    "benchmark": {
        "fig1": "Boxes: packages, with the methods in their registries; arrows: what is handed on.",
        "fig_overview": "Dashed line: ASR + R-Acc = 100, above which nothing can lie; hollow marker: collapsed.",
        **dict.fromkeys(("fig_ratio", "fig9", "fig_ratio_cifar100", "fig_ratio_gtsrb", "fig_ratio_tiny"), _CURVES),
        "fig_architecture": "Colour and number: ASR in percent.",
        "fig_tsne_ratio": _TSNE,
        "fig_quick_learning": _CLEAN_POISONED,
        "fig_trigger_generalisation": "Lines: the two models, which were trained at two ratios.",
        "fig_forgetting": "Bars: percent of the group, clean and poisoned beside each other.",
        **dict.fromkeys(
            ("fig_visual_attack", "fig_visual_defense"),
            "Dots: training images in the colour of their label, black crosses: poisoned. Bars: mean activation of a"
            " neuron, clean and poisoned over each other. Images: top without, below with the trigger; bright: where"
            " the score comes from.",
        ),
        "our_triggers": (
            "× : by how much the difference is amplified, a fraction where it is made smaller. PSNR and SSIM are "
            "large for small changes."
        ),
        "our_samples": "Below each picture its true class, and the label that it is given.",
        "our_ratio": "Colour: undefended or after FT; filled markers: ours, hollow ones: printed.",
        "our_ranks": "The marker on a bar: its rank over all attacks; the black line: the critical difference.",
        "our_tool_confusion": (
            f"{_MODELS_TOP} A bright cell off the diagonal is a mistake; a full column is a backdoor."
        ),
        "our_tool_network_structure": (
            "Bars: weights of a layer, logarithmic; the text is its name, kind and shape of its output."
        ),
        "our_tool_tsne": f"{_TSNE} {_COLUMNS}",
        "our_tool_umap": f"{_TSNE} {_COLUMNS}",
        "our_tool_neurons": "A dot is a neuron; its colour and marker are the model.",
        "our_tool_neuron_activation": (
            "Bars: a neuron each, clean and poisoned over each other; in the same order in every panel."
        ),
        "our_tool_activation_distribution": "Stacked bars: a neuron each; colours: classes, black: poisoned images.",
        "our_tool_activated_images": "A row is a neuron, with its number; framed images are poisoned.",
        "our_tool_feature_maps": f"{_MODELS_TOP} Bright: a large output; one scale for both rows of a channel.",
        "our_tool_feature_visualisation": (
            "Above each image its neuron, and the activation at the start and at the end."
        ),
        "our_tool_gradcam": (
            f"{_MODELS_TOP} Bright: where the answer comes from; above each map the class that is answered."
        ),
        "our_tool_shapley": f"{_MODELS_TOP} Blue lowers a score; above each map the class and the sum of its values.",
        "our_tool_frequency_saliency": f"{_MODELS_TOP} Bright: a frequency to which the score is sensitive.",
        "our_tool_lipschitz": (
            f"Box: quartiles of a layer's channels; hollow points lie beyond 1.5 boxes. {_TWO_CURVES}"
        ),
        "our_tool_loss_landscape": f"{_MODELS_TOP} Lines: equal loss, with its value. {_COLUMNS}",
        "our_tool_hessian": f"Solid: the clean loss; dashed: that of triggered images. {_COLUMNS}",
    },
}
"""Paper -> figure -> what its marks mean. Figures that a reader has changed keep the caption of their own function."""


def completed(paper: str, id_: str, caption: str) -> str:
    """The caption of a figure with the meaning of its marks, and with what there is of it in print.

    Parameters
    ----------
    paper, id_
        Which figure; one without an entry in :data:`MARKS` gets the last sentence only.
    caption
        What it shows, and of what.
    """
    parts = [caption, MARKS.get(paper, {}).get(id_, "")]
    said = " ".join(parts).lower()
    if id_ not in {entry.id for entry in inventory(paper)}:
        if not any(word in said for word in ("not in the paper", "print")):
            parts.append("Ours: not in the paper.")
    elif published(paper, id_).empty and not any(word in said for word in ("redrawn", "draws its own", "print")):
        parts.append("The printed figure is not available as numbers.")
    return " ".join(part for part in parts if part)
