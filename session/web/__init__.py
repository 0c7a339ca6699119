"""Sessions in the frameworks people use: a module each, `wsgi`, `asgi`, `flask` and `django`, thin over one core."""

__all__: list[str] = []
