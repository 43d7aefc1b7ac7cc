"""Analysis tools: one tool, one file.

A tool is a function ``tool(models, ground, *, seed, **params) -> dict`` of small JSON values: what a figure is drawn from.
``models`` are the models to look at, ``ground`` the data and attack they share; a tool that needs no trained model gets none,
and None. Drawing happens elsewhere.
"""

from paperlib.registry import Method

TOOLS: dict[str, Method] = {
    "tsne": Method("paperlib.analysis.tsne", "tsne", "t-SNE of features"),
    "neurons": Method("paperlib.analysis.neurons", "neurons", "TAC and weight norm of neurons"),
    "sam_geometry": Method("paperlib.analysis.sam_geometry", "sam_geometry", "Gradients and perturbations of SAM"),
    "gradcam": Method("paperlib.analysis.gradcam", "gradcam", "Grad-CAM", version=2),
    "triggers": Method("paperlib.analysis.triggers", "triggers", "Triggers and image quality"),
    "adversarial_risk": Method("paperlib.analysis.adversarial_risk", "adversarial_risk", "Risks of the SAU paper"),
    "sau_curve": Method("paperlib.analysis.adversarial_risk", "sau_curve", "Risks over the epochs of SAU"),
    "fair_protocol": Method("paperlib.analysis.fair_protocol", "fair_protocol", "Experiment of the mean-parity paper"),
}
