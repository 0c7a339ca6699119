"""What a request's session costs: calls to the back end and processor time, beside the sessions that others have.

``python -m benchmarks.web`` is the driver. It runs in the environment that has ministack; the apps (``apps``) run as
processes of their own (``children``), in the environment of `benchmarks.speed`.
"""
