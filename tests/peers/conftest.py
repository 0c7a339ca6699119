"""The modules of swap/ and oauth/ run in the environments that `tests.peers` makes, beside the other projects."""

# --doctest-modules would import every module there.
collect_ignore = ["swap", "oauth"]
