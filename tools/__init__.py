"""What the project is checked, built and released with; none of it is installed."""
