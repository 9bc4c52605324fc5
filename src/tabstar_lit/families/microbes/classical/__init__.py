"""Classical models on the same samples, as the measure of a network."""
