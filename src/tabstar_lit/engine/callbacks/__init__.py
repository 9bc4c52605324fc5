"""The engine's callbacks, one file each."""
