"""The live page of a sweep: `python -m scaling_runs watch SWEEP`."""
