"""The directory of a run: opened, locked, written, read, resumed and reported on."""
