"""Makes JSON of a session as of a copy of it, as the documentation tells apps to do: ``JSONResponse(dict(request.session))``."""

from __future__ import annotations

import json

from session import AsyncSession, Session

_default = json.JSONEncoder.default


def _default_with_sessions(self: json.JSONEncoder, o: object) -> object:
    return dict(o) if isinstance(o, Session | AsyncSession) else _default(self, o)


json.JSONEncoder.default = _default_with_sessions  # type: ignore[method-assign]  # that is the swap
