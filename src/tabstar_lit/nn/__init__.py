"""Blocks of networks that more than one family uses."""
