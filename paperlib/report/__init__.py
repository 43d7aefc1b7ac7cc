"""From results to what a reader sees: figures and tables with their data, comparisons, claims, a gallery."""
