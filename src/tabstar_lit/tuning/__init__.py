"""Studies: many runs of one command, in search of the best values of some keys."""
