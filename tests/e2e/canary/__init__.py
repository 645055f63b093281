"""What the canary does: secrets are planted, everything is done with them, all is searched."""
