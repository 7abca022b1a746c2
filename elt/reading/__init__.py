"""What bytes mean: from a file to typed rows and findings. Pure."""
