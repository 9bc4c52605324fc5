"""Event files: how they are made, what is in them, and how they are read."""
