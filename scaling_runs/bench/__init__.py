"""The hardware bench: what a machine does with a training step, kept as a profile by which plans are timed."""
