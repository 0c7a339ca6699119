"""Fuzzing: ``python -m tests.fuzz``. Nothing is imported here: what is to be watched must not be there before it is."""
