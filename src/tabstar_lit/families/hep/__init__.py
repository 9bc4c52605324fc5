"""Collision events: what signal classification and fake-factor estimation share."""
