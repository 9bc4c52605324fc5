"""Networks that write an antibody for an antigen at a wanted affinity."""
