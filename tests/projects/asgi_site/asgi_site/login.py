"""Who is asking: the session says so, in the site's views and in the files application."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from bgtasks.contrib.asgi import SCOPE

router = APIRouter()


class Visitor(BaseModel):
    """Somebody who logs in."""

    user: str


@router.post("/login")
def login(visitor: Visitor, request: Request) -> Response:
    """Any name will do."""
    request.session["user"] = visitor.user
    return Response(status_code=204)


def identify(environ: dict[str, Any]) -> str | None:
    """For ``bgtasks_identify``: the session middleware stands in front of the whole site."""
    user: str | None = environ[SCOPE]["session"].get("user")
    return user
