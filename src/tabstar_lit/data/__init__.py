"""Reading, splitting, scaling and planning batches of data, for every family."""
