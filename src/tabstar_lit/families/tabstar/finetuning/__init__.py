"""Fine-tuning: from which model, with which adapters, what it may have seen before, and in how many folds."""
