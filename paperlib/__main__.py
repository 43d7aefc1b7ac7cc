"""``python -m paperlib`` is ``paperlib``."""

from paperlib.cli import app

app(prog_name="paperlib")
