"""Nothing in this folder is run: mypy reads it, as test_typing.py has it."""

# --doctest-modules would import every module here.
collect_ignore_glob = ["*"]
