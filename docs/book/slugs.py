"""Anchors of headings as JupyterLab makes them."""


def slug(title: str) -> str:
    return title.replace(" ", "-")
