"""What a job over a table costs, and how that grows with the table: ``python -m benchmarks.batch``."""
