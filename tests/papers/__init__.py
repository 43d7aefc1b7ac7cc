"""The papers: grids, tables, figures and claims, on made-up results."""
