"""The site: ``uvicorn asgi_site.web:app``."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.middleware.sessions import SessionMiddleware

import asgi_site.celery  # noqa: F401 - the app that bgtasks is installed in
from asgi_site.login import router
from bgtasks.contrib import asgi
from bgtasks.errors import InvalidCriteria

FORM = (Path(__file__).parent / "templates" / "visits.html").read_text()

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.environ["SITE_KEY"])
app.include_router(router)
app.mount("/exports", asgi.application)


@app.get("/")
async def form(request: Request) -> Any:
    """The form; and what it asks for."""
    if not request.query_params:
        return shown({}, {})
    try:
        _, response = await asgi.respond_to("visits", request)
        return response
    except InvalidCriteria as invalid:
        return shown(dict(request.query_params), invalid.fields, 400)


def shown(given: dict[str, str], errors: dict[str, list[str]], status: int = 200) -> HTMLResponse:
    """The form, with what was given and what is wrong with it."""
    values = {name: escape(given.get(name, "")) for name in ("from_date", "until_date")}
    wrong = {f"{name}_error": escape(" ".join(errors.get(name, []))) for name in values}
    return HTMLResponse(FORM.format(**values, **wrong), status)


@app.post("/visits")
async def ask(request: Request) -> Any:
    """The same for programs. What is wrong is answered by FastAPI: each error is an HTTPException of its own, too."""
    _, response = await asgi.respond_to("visits", request, requester=request.session.get("user"))
    return response


@app.get("/own/{token}")
async def own(token: str, request: Request) -> Any:
    """A download from a view of the site's own."""
    return await asgi.serve_file(request, token)
