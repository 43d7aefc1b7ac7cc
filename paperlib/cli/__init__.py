"""The command line ``paperlib``; the application is in :mod:`paperlib.cli.main`, each group of commands in its own
file."""

from paperlib.cli.main import app as app
