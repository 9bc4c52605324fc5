"""What a trained generator is used for: new antibodies, and the likelihood of given ones."""
