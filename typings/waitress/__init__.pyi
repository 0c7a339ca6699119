# waitress ships no types; this is what the examples and the tests use of it.
from wsgiref.types import WSGIApplication

def serve(app: WSGIApplication, *, listen: str = ..., threads: int = ..., _quiet: bool = ...) -> None: ...
