"""Other projects' test suites, run on this package's sessions."""
