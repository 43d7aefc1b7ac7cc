"""Seven papers, running: see README.md. Importing this package does not import torch."""

__version__ = "0.1.0"

from paperlib.experiments import specs as specs  # so that the lab, which knows no kind of spec, can read every one
