"""What figures of every family have in common."""
