"""From what others wrote to a study file."""
