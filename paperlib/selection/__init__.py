"""Which samples to poison: one strategy, one file."""
