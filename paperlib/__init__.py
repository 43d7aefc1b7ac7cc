"""Seven papers, running: see README.md. Importing this package does not import torch."""

__version__ = "0.1.0"
