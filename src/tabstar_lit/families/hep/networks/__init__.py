"""Networks over collision events; each reads top to bottom in one file."""
