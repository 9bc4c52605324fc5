"""What networks begin with that training samples tell without any training."""
