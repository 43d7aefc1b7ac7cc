"""Ways in from other toolboxes: one toolbox, one file. What comes out goes into ``defend``, ``detect`` and ``analyse``
as it is.

``backdoorbench``
    ``attack_result.pt`` and checkpoints: weights, name of the architecture, which images were poisoned.
``art``
    arrays of the Adversarial Robustness Toolbox, and its PyTorch classifier.
``huggingface``
    an image classifier of transformers, with the normalisation and size of its processor.
``timm``
    a model of timm, with the normalisation and size of its configuration.

No file runs code of another toolbox's files: weights are read by PyTorch's restricted unpickler.
"""
