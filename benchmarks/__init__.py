"""Speed, one line per figure: ``BENCH name=value``."""
