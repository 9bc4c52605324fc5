"""What a trained checkpoint is used for: prediction, calibration, export."""
