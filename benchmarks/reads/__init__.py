"""The cost of recording reads, without a network."""
