"""Analysis tools: one tool, one file.

A tool is a function ``tool(models, scene, *, seed, **params) -> dict`` of small JSON values: what a figure is drawn
from. ``models`` are the models to look at, ``scene`` the data and attack they share; a tool that needs no trained model
gets none, and None. Drawing happens elsewhere.

Parameters that several tools have: ``n``, the most images to look at; ``layer``, its dotted name in the model, empty:
the tool's own choice; ``true_class`` and ``index``, a test image: number ``index`` of that class; ``shown``, how many
neurons, channels or images to give back; ``n_clean``, the size of the clean subset (:meth:`Scene.clean`); ``steps``,
``eps`` and ``step``, of the perturbation: how many steps, its L-infinity radius and the length of a step, pixels being
in [0, 1]; ``seed`` decides every draw.
"""

from typing import TYPE_CHECKING, Any

from paperlib.errors import PaperlibError, choose
from paperlib.registry import Method, Registry, check_seed, check_value

if TYPE_CHECKING:
    from paperlib.attacks.scene import Scene

TOOLS = Registry(
    "tool",
    __name__,
    {
        "tsne": Method(".tsne", "tsne", "t-SNE of features"),
        "neurons": Method(".neurons", "neurons", "TAC and weight norm of neurons"),
        "sam_geometry": Method(".sam_geometry", "sam_geometry", "Gradients and perturbations of SAM"),
        "gradcam": Method(".gradcam", "gradcam", "Grad-CAM", version=2, needs="positions"),
        "perturbations": Method(".perturbations", "perturbations", "Trigger and perturbations"),
        "triggers": Method(".triggers", "triggers", "Triggers and image quality"),
        "adversarial_risk": Method(".adversarial_risk", "adversarial_risk", "Risks of the SAU paper"),
        "sau_curve": Method(".adversarial_risk", "sau_curve", "Risks over the epochs of SAU"),
        "reactivation": Method(".reactivation", "reactivation", "Optimised trigger on a purified model"),
        "shared_features": Method(".shared_features", "shared_features", "Shared examples in feature space"),
        "fair_protocol": Method(
            "paperlib.papers.mp_fair_regression.runs", "fair_protocol", "Experiment of the mean-parity paper"
        ),
        "umap": Method(".umap", "umap", "UMAP of features"),
        "shapley": Method(".shapley", "shapley", "Shapley values"),
        "frequency_saliency": Method(".frequency_saliency", "frequency_saliency", "Frequency saliency"),
        "neuron_activation": Method(".neuron_activation", "neuron_activation", "Activation of neurons"),
        "activated_images": Method(".activated_images", "activated_images", "Images that activate a neuron"),
        "activation_distribution": Method(
            ".activation_distribution", "activation_distribution", "Classes of activating images"
        ),
        "feature_maps": Method(".feature_maps", "feature_maps", "Feature maps"),
        "feature_visualisation": Method(".feature_visualisation", "feature_visualisation", "What a neuron looks for"),
        "lipschitz": Method(".lipschitz", "lipschitz", "Lipschitz constants of channels"),
        "loss_landscape": Method(".loss_landscape", "loss_landscape", "Loss landscape"),
        "network_structure": Method(".network_structure", "network_structure", "Network structure"),
        "hessian": Method(".hessian", "hessian", "Hessian spectrum"),
        "confusion": Method(".confusion", "confusion", "Confusion matrix"),
        "dynamics": Method(".dynamics", "dynamics", "Quick learning and forgetting"),
        "trigger_generalisation": Method(".trigger_generalisation", "trigger_generalisation", "Altered triggers"),
        "selected": Method(".selected", "selected", "Images that a strategy selected", version=2),
    },
)

WITHOUT_MODEL = ("fair_protocol",)
"""Tools that look at no classifier."""


def applicable(name: str, model: Any) -> bool:
    """Whether the tool ``name`` can look at ``model``.

    Raises
    ------
    PaperlibError
        Unknown tool, or no torch model.
    """
    from paperlib.models.needs import has

    return has(model, TOOLS[name].needs)


def analyse(
    models: Any, scene: "Scene | None", *, tool: str, seed: int = 0, chance_ok: bool = False, **params: Any
) -> dict[str, Any]:
    """Look at a person's own models with the tool ``tool``.

    Parameters
    ----------
    models
        One classifier or several, in any form of :mod:`paperlib.models.foreign`; a tool that compares takes the
        backdoored one first.
    scene
        What they were trained and tested on, and the attack: :func:`paperlib.attacks.scene.own_scene`.
    seed
        Decides every draw of the tool.
    chance_ok
        Look at a model although it is right no more often than by guessing.
    **params
        Parameters of the tool.

    Raises
    ------
    PaperlibError
        An unknown tool or parameter, a value that it cannot have, or a model and images that do not fit each other.
    """
    import inspect

    from paperlib.attacks.scene import Scene
    from paperlib.models.foreign import adopt, check_learned

    function = TOOLS[tool].load()
    known = inspect.signature(function).parameters
    options = {name: one for name, one in known.items() if name not in ("models", "scene", "seed")}
    check_seed(seed)
    free = [name for name, one in options.items() if one.kind is inspect.Parameter.VAR_KEYWORD]  # the tool checks those
    named = {name: one for name, one in options.items() if name not in free}
    for name, value in params.items():
        if name in named or not free:
            one = named[choose(f"{tool} parameter", name, named)]
            check_value(name, value, one.annotation, one.default)
    if tool in WITHOUT_MODEL:
        return function([], None, seed=seed, **params)
    if not isinstance(scene, Scene):
        raise PaperlibError(
            f"scene is of type {type(scene).__name__}; make one with paperlib.attacks.scene.own_scene(train, test,"
            " attack)."
        )
    adopted = []
    for model in models if isinstance(models, list | tuple) else [models]:
        inner, test = adopt(model, scene.test, "scene.test")
        if test is None or test.x.shape != scene.test.x.shape:
            raise PaperlibError(
                f"scene has images of {scene.test.x.shape[1]} channels, the model takes others; make the scene from"
                " images that it takes."
            )
        if not chance_ok:
            check_learned(inner, test, "scene.test")
        adopted.append(inner)
    if not adopted:
        raise PaperlibError(f"models is empty; tool={tool!r} looks at one or more.")
    return function(adopted, scene, seed=seed, **params)
