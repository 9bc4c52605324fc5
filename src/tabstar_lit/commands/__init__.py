"""Console commands: parse, call, print. Everything heavy is imported inside the functions."""
