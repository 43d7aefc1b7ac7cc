"""VDC: find dirty samples by asking a multimodal model about the pictures.

Zhu, Zhang, Wei, Wu, "VDC: Versatile Data Cleanser Based on Visual-Linguistic Inconsistency by Multimodal Large Language
Models", ICLR 2024 (arXiv 2309.16211). A sample is dirty (poisoned or mislabelled) when the picture does not agree with
its label in words. Three stages and a vote:

========================  =================================  =====================================================
stage                     here                               what it does
========================  =================================  =====================================================
VQG, questions            :mod:`~paperlib.vdc.questions`     a bank of general and label-specific questions
VQA, answers              :mod:`~paperlib.vdc.engines`       any model that answers questions about a picture
VAE, evaluation           :mod:`~paperlib.vdc.judges`        does a description name the label?
vote                      :mod:`~paperlib.vdc.scoring`       share of right answers against a threshold
========================  =================================  =====================================================

:func:`~paperlib.vdc.cleanse.cleanse` runs them; ``paperlib vdc clean`` does it for a folder. Where picture and label
agree (clean-label attacks), the method has nothing to see. This module imports no torch.

Introduced in notebook 01.
"""
