"""What is measured and drawn while a generator is trained."""
