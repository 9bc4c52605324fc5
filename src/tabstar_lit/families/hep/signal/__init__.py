"""Signal-versus-background classification of collision events."""
