"""From tables and FASTA files to a pairs file: chains recognised, affinities in one unit, antigens clustered."""
