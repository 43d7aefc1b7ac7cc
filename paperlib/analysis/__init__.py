"""Analysis tools: one tool, one file.

A tool is a function ``tool(models, scene, *, seed, **params) -> dict`` of small JSON values: what a figure is drawn from.
``models`` are the models to look at, ``scene`` the data and attack they share; a tool that needs no trained model gets none,
and None. Drawing happens elsewhere.
"""

from paperlib.registry import Method

TOOLS: dict[str, Method] = {
    "tsne": Method("paperlib.analysis.tsne", "tsne", "t-SNE of features"),
    "neurons": Method("paperlib.analysis.neurons", "neurons", "TAC and weight norm of neurons"),
    "sam_geometry": Method("paperlib.analysis.sam_geometry", "sam_geometry", "Gradients and perturbations of SAM"),
    "gradcam": Method("paperlib.analysis.gradcam", "gradcam", "Grad-CAM", version=2),
    "perturbations": Method("paperlib.analysis.perturbations", "perturbations", "Trigger and perturbations"),
    "triggers": Method("paperlib.analysis.triggers", "triggers", "Triggers and image quality"),
    "adversarial_risk": Method("paperlib.analysis.adversarial_risk", "adversarial_risk", "Risks of the SAU paper"),
    "sau_curve": Method("paperlib.analysis.adversarial_risk", "sau_curve", "Risks over the epochs of SAU"),
    "reactivation": Method("paperlib.analysis.reactivation", "reactivation", "Optimised trigger on a purified model"),
    "shared_features": Method(
        "paperlib.analysis.shared_features", "shared_features", "Shared examples in feature space"
    ),
    "fair_protocol": Method("paperlib.analysis.fair_protocol", "fair_protocol", "Experiment of the mean-parity paper"),
    "umap": Method("paperlib.analysis.umap", "umap", "UMAP of features"),
    "shapley": Method("paperlib.analysis.shapley", "shapley", "Shapley values"),
    "frequency_saliency": Method("paperlib.analysis.frequency_saliency", "frequency_saliency", "Frequency saliency"),
    "neuron_activation": Method("paperlib.analysis.neuron_activation", "neuron_activation", "Activation of neurons"),
    "activated_images": Method(
        "paperlib.analysis.activated_images", "activated_images", "Images that activate a neuron"
    ),
    "activation_distribution": Method(
        "paperlib.analysis.activation_distribution", "activation_distribution", "Classes of activating images"
    ),
    "feature_maps": Method("paperlib.analysis.feature_maps", "feature_maps", "Feature maps"),
    "feature_visualisation": Method(
        "paperlib.analysis.feature_visualisation", "feature_visualisation", "What a neuron looks for"
    ),
    "lipschitz": Method("paperlib.analysis.lipschitz", "lipschitz", "Lipschitz constants of channels"),
    "loss_landscape": Method("paperlib.analysis.loss_landscape", "loss_landscape", "Loss landscape"),
    "network_structure": Method("paperlib.analysis.network_structure", "network_structure", "Network structure"),
    "hessian": Method("paperlib.analysis.hessian", "hessian", "Hessian spectrum"),
    "confusion": Method("paperlib.analysis.confusion", "confusion", "Confusion matrix"),
    "dynamics": Method("paperlib.analysis.dynamics", "dynamics", "Quick learning and forgetting"),
    "trigger_generalisation": Method(
        "paperlib.analysis.trigger_generalisation", "trigger_generalisation", "Altered triggers"
    ),
    "selected": Method("paperlib.analysis.selected", "selected", "Images that a strategy selected", version=2),
}
