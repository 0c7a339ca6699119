"""How fast: one call of each client, many at once, the first one, and what a session adds.

``python -m benchmarks.speed`` is the driver. It runs in the environment that has ministack and starts everything
that is measured as processes of its own (``children``), in the environment that has the clients (``peers``).
"""
