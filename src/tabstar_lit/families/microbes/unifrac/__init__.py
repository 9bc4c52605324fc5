"""UniFrac distances and Faith's phylogenetic diversity."""
