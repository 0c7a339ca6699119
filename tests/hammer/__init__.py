"""The hammer: processes that write the same sessions through a network that fails, are killed, and lose nothing."""
