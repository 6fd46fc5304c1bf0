"""The site: ``gunicorn flask_site.web:application``."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, redirect, render_template, request, session
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import flask_site.celery  # noqa: F401 - the app that bgtasks is installed in
from bgtasks.errors import BgtasksError, InvalidCriteria
from bgtasks.wsgi import application as files
from bgtasks.wsgi.problems import problem
from bgtasks.wsgi.views import serve_file
from flask_site.exports import Readings

site = Flask(__name__)
site.secret_key = os.environ["SITE_KEY"]


def identify(environ: dict[str, Any]) -> str | None:
    """Who asks, in the site's own views and in the files application, which Flask knows nothing of."""
    with site.request_context(environ):
        return session.get("user")


@site.errorhandler(BgtasksError)
def refuse(error: BgtasksError) -> Any:
    """What a view lets pass, such as a format that there is not: a page, or problem details for a program."""
    return problem(request, error)


@site.get("/login")
def login_form() -> str:
    """Any name will do."""
    return render_template("login.html")


@site.post("/login")
def login() -> Any:
    """Back to where the visitor came from, if that is a page of ours."""
    session["user"] = request.form["user"]
    back = request.args.get("next", "/")
    return redirect(back if back.startswith("/") and not back.startswith("//") else "/")


@site.get("/")
def readings() -> Any:
    """The form; and what it asks for."""
    if "user" not in session:
        return redirect("/login")
    errors: dict[str, list[str]] = {}
    if request.args:
        try:
            _, response = Readings().respond_to(request)
            return response
        except InvalidCriteria as invalid:
            errors = invalid.fields
    return render_template("readings.html", errors=errors), 400 if errors else 200


@site.get("/own/<token>")
def own(token: str) -> Any:
    """A download from a view of the site's own."""
    return serve_file(request, token)


application = DispatcherMiddleware(site, {"/exports": files})
