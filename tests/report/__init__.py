"""Comparing with print, verdicts, looks, saving and showing."""
