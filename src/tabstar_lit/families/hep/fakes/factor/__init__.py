"""What is done with a learned fake factor: applied, compared with counting, tested by closure."""
