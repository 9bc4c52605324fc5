"""From the columns of an event file to scaled, weighted, shuffled batches."""
