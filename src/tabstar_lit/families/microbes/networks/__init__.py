"""The networks: from bases to ASVs, from ASVs to samples, from samples to targets."""
