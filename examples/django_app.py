"""The example app on Django, in one file: /put stores "Hello world!" in the session, /get returns it, /logout ends it.

``python examples/django_app.py`` serves it with waitress, ``gunicorn --chdir examples django_app`` with gunicorn. The region,
credentials and endpoint come from the environment, as in boto3. The table must exist: create it with
``store.create_table()``, or run ``python examples/demo.py``, which starts a local DynamoDB with the table.
"""

from __future__ import annotations

import os
import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.urls import path, re_path

settings.configure(
    SESSION_ENGINE="session.web.django",
    SESSION_TABLE=os.environ.get("SESSION_TABLE", "scs_session"),
    MIDDLEWARE=["session.web.django.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    # This app signs nothing that another process must verify, so a random key for each process is enough.
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(),
)


def put(request: HttpRequest) -> HttpResponse:
    request.session["message"] = "Hello world!"
    return HttpResponse(content_type="text/plain")


def get(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session.get("message", ""), content_type="text/plain")


def logout(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse(content_type="text/plain")


def elsewhere(_request: HttpRequest) -> HttpResponse:
    return HttpResponseNotFound("try /put, /get and /logout\n", content_type="text/plain")


urlpatterns = [path("put", put), path("get", get), path("logout", logout), re_path("", elsewhere)]

application = get_wsgi_application()


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import waitress

    waitress.serve(application, listen=os.environ.get("LISTEN", "127.0.0.1:4000"), threads=8, _quiet=True)


if __name__ == "__main__":
    main()
