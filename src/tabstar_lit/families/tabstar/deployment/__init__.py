"""A trained TabSTAR at work: predictions, vectors, explanations, and the form in which others load it."""
