"""The tests that Django has for each of its session back ends, of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.test import SimpleTestCase

from session.web.django import SessionStore

if TYPE_CHECKING:
    SessionTestsMixin: Any
else:
    from sessions_tests.tests import SessionTestsMixin


class DynamoSessionTests(SessionTestsMixin, SimpleTestCase):  # type: ignore[misc]  # Django's tests have no types
    """Django's tests of a back end."""

    backend = SessionStore
