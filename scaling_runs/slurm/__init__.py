"""`hydra/launcher=slurm`: cells as jobs of a Slurm cluster."""
