"""What ``architecture_config`` may say, network by network. Light to import."""
