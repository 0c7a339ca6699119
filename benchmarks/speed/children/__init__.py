"""The programs that the driver starts, each in a process of its own."""
