"""From a cell of a table to its result: kinds of spec, sizes, plans, the scene around a model, and what runs them."""
