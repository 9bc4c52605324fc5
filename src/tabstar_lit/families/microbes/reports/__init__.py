"""Reports over several runs, studies and disturbances, with the classical models beside the network."""
