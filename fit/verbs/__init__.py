"""What `python -m fit` can do, a verb a file: `add` declares its options, and runs it."""
