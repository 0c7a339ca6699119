"""Adapters that give each request its session: `wsgi`, `asgi` (Starlette, FastAPI, Litestar), `flask` and `django`."""

__all__: list[str] = []
