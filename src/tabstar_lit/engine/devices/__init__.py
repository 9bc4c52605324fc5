"""Where a run computes: its processes, cards and their memory."""
