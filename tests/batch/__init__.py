"""Batch jobs that are killed, hindered and disturbed by other writers, and what is checked then; ``python -m tests.batch``."""
