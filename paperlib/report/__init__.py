"""From results to what a reader sees: figures and tables with their data, the printed number beside ours, claims, a gallery."""
