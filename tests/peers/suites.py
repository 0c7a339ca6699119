"""The suites: what each swaps, and the command that runs its tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .environments import Environment
from .pins import FOLDER

__all__ = ["SUITES", "Suite"]

# Every folder of Django's tests that logs somebody in or speaks of a session, but for those that use the word for something else.
DJANGO_LABELS: Final = (
    *(
        "admin_autodiscover",
        "admin_changelist",
        "admin_checks",
        "admin_custom_urls",
        "admin_default_site",
        "admin_docs",
    ),
    *("admin_filters", "admin_inlines", "admin_ordering", "admin_registration", "admin_utils", "admin_views"),
    *("admin_widgets", "auth_tests", "context_processors", "csrf_tests", "flatpages_tests", "generic_inline_admin"),
    *("messages_tests", "middleware", "middleware_exceptions", "modeladmin", "redirects_tests", "requests_tests"),
    *("sessions_tests", "signed_cookies_tests", "test_client", "test_client_regress", "view_tests"),
)


@dataclass(frozen=True)
class Suite:
    """How a project's tests are run. *swapped* says for the reader what is put in the place of what."""

    swapped: str
    selection: str
    command: Callable[[Environment], list[str | Path]]
    unswapped: Callable[[Environment], list[str | Path]] | None
    """The same tests with the project's own sessions."""
    folder: str = "."
    """Where it runs, within the sdist."""
    environ: Mapping[str, str] = field(default_factory=dict)


def _django(*labels: str) -> Callable[[Environment], list[str | Path]]:
    settings = ("--settings", "peers_swap.django_settings", "--parallel", "1", "--noinput", "--verbosity", "0")
    return lambda environment: [environment.python, "runtests.py", *settings, *DJANGO_LABELS, *labels]


def _pytest(*arguments: str) -> Callable[[Environment], list[str | Path]]:
    quiet = ("-q", "--tb=short", "-p", "no:cacheprovider", "-p", "peers_swap.pytest_plugin")
    return lambda environment: [environment.python, "-m", "pytest", *quiet, *arguments]


def _oauth(environment: Environment) -> list[str | Path]:
    folder = FOLDER / "oauth"
    alone = ("-c", folder / "pytest.ini", "--rootdir", folder, "--confcutdir", folder, "--import-mode", "importlib")
    return [*_pytest()(environment), *alone, folder]


_DJANGO = Suite(
    swapped='`SESSION_ENGINE = "session.web.django"`; Django\'s own middleware stays',
    selection="every app that has to do with sessions, logins, messages, CSRF or the admin, and the tests of a back end",
    command=_django("peers_swap.django_backend"),
    unswapped=_django(),
    folder="tests",
)

SUITES: Final[dict[str, Suite]] = {
    "django-5.2": _DJANGO,
    "django-6": _DJANGO,
    "flask": Suite(
        swapped="`SessionInterface(manager).init_app(app)` for each app that chooses no sessions itself",
        selection="all",
        command=_pytest("-p", "peers_swap.flask_plugin", "tests"),
        unswapped=_pytest("tests"),
    ),
    "flask-login": Suite(
        swapped="the same",
        selection="all",
        command=_pytest("-p", "peers_swap.flask_plugin", "tests"),
        unswapped=_pytest("tests"),
    ),
    "starlette": Suite(
        swapped="its `SessionMiddleware`, by this package's with a manager made of the same arguments",
        selection="`tests/middleware/test_session.py`",
        command=_pytest("-p", "peers_swap.starlette_plugin", "tests/middleware/test_session.py"),
        unswapped=_pytest("tests/middleware/test_session.py"),
    ),
    "allauth": Suite(
        swapped='`SESSION_ENGINE = "session.web.django"`',
        selection="all, with the settings of its project `regular`",
        command=_pytest("--ds", "peers_swap.allauth_settings", "tests"),
        unswapped=_pytest("--ds", "peers_swap.allauth_settings", "tests"),
        environ={"PYTHONPATH": "."},
    ),
    "authlib": Suite(
        swapped="nothing: its clients keep what they must remember in these sessions",
        selection="our own tests, in `tests/peers/oauth`: its sdist has none",
        command=_oauth,
        unswapped=None,
    ),
}
