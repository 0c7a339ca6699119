"""What is put in the place of a project's own sessions: linked into each suite's environment as the package `peers_swap`."""
