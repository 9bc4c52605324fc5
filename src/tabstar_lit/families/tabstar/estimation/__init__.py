"""Fitting and predicting as scikit-learn has it: data frames in, a trained model out, no files left behind."""
