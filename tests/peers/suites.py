"""The suites: what each swaps, and the command that runs its tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .environments import Environment
from .pins import FOLDER, Pin

__all__ = ["SUITES", "Suite", "read_titles"]

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
    """How a project's tests are run, in the environment of the entry *pin* of pins.toml."""

    pin: str
    command: Callable[[Environment], list[str | Path]]
    unswapped: Callable[[Environment], list[str | Path]] | None
    """The same tests with the project's own sessions."""
    folder: str = "."
    """Where it runs, within the sdist."""
    environ: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    """What its title says beside the project's."""


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


def _make_django(pin: str, **environ: str) -> Suite:
    command = _django("peers_swap.django_backend")
    return Suite(pin, command=command, unswapped=_django(), folder="tests", environ=environ)


def _make_flask(pin: str) -> Suite:
    return Suite(pin, command=_pytest("-p", "peers_swap.flask_plugin", "tests"), unswapped=_pytest("tests"))


_ALLAUTH = _pytest("--ds", "peers_swap.allauth_settings", "tests")
_STARLETTE = "tests/middleware/test_session.py"

# docs/background/peers.md lists the replaced sessions and the tests of each suite.
SUITES: Final[dict[str, Suite]] = {
    "django-5.2": _make_django("django-5.2"),
    "django-6": _make_django("django-6", PEERS_MIDDLEWARE="1"),
    "flask": _make_flask("flask"),
    "flask-login": _make_flask("flask-login"),
    "starlette": Suite(
        "starlette",
        command=_pytest("-p", "peers_swap.starlette_plugin", _STARLETTE),
        unswapped=_pytest(_STARLETTE),
    ),
    "starlette-json": Suite(
        "starlette",
        command=_pytest("-p", "peers_swap.starlette_plugin", "-p", "peers_swap.json_plugin", _STARLETTE),
        unswapped=None,
        note=", with `dict(session)` in JSON",
    ),
    "allauth": Suite("allauth", command=_ALLAUTH, unswapped=_ALLAUTH, environ={"PYTHONPATH": "."}),
    "authlib": Suite("authlib", command=_oauth, unswapped=None),
}


def read_titles(pins: Mapping[str, Pin]) -> dict[str, str]:
    """Return what each suite is called, by its name."""
    return {name: f"{pins[suite.pin].title}{suite.note}" for name, suite in SUITES.items()}
