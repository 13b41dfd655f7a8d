"""What happens around a training step, one file per concern."""
