"""Toy events whose fake factor is known in closed form."""
