"""The example app on Flask: /put stores "Hello world!" in the session, /get returns it, /logout destroys it. / has a login.

``python examples/flask_app.py`` serves it with waitress on the address in LISTEN, ``gunicorn --chdir examples flask_app:app``
with gunicorn. The region, credentials and endpoint come from the environment. The table must exist.
"""

from __future__ import annotations

import os

import flask
from flask import flash, redirect, render_template_string, request
from werkzeug.wrappers import Response

import dynamostore
from session import Cookie, SessionConflict, SessionManager
from session.web.flask import SessionInterface, session  # flask.session, typed

store = dynamostore.connect(table=os.environ.get("SESSION_TABLE", "scs_session"))
# This app runs over plain HTTP. With HTTPS, leave out secure=False.
manager = SessionManager(store, cookie=Cookie(secure=False, persist=False))

app = flask.Flask(__name__)
SessionInterface(manager).init_app(app)

PAGE = """<!doctype html>
{% for message in get_flashed_messages() %}<p>{{ message }}</p>{% endfor %}
<p>{% if "user" in session %}You are {{ session["user"] }}.{% else %}Who are you?{% endif %}</p>
"""


@app.get("/put")
def put() -> str:
    session.put_string("message", "Hello world!")
    return ""


@app.get("/get")
def get() -> str:
    return session.get_string("message")


@app.get("/logout")
def logout() -> str:
    session.destroy()
    return ""


@app.get("/")
def home() -> str:
    return render_template_string(PAGE)


@app.post("/login")
def login() -> Response:
    session.renew_token()  # a new token at login defeats session fixation
    session.put_string("user", request.form["user"])
    session.remember("remember" in request.form)
    flash("Welcome!")
    return redirect("/")


@app.errorhandler(SessionConflict)
def conflict(error: SessionConflict) -> Response:  # noqa: ARG001 (Flask passes it)
    # Another request changed the session at the same time, and this one cannot run again, for example because it is a POST.
    flash("Please try again.")
    return redirect("/", 303)


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import waitress

    waitress.serve(app, listen=os.environ.get("LISTEN", "127.0.0.1:4000"), threads=8, _quiet=True)


if __name__ == "__main__":
    main()
