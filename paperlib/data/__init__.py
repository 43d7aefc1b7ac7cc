"""Data sets: where their files come from (``sources``, no torch) and images as tensors (``images``)."""
