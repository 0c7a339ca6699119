"""What we send, what DynamoDB documents that it answers, and which servers answer so: ``python -m tests.conformance``."""
