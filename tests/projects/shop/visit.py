"""A web process: it stores an order and asks for the file in one transaction, waits, and downloads it."""

from __future__ import annotations

import json
import sys

from shop.celery import app
from shop.models import Order
from sqlalchemy.orm import Session
from werkzeug.test import Client

from bgtasks import database, registry, toolbox
from bgtasks.wsgi import application

CUSTOMER = "ada@example.com"

with Session(database.current().engine, expire_on_commit=False) as session, session.begin():
    session.add_all([Order(customer=CUSTOMER, amount=12), Order(customer="grace@example.com", amount=13)])
    asked = toolbox.add_request({"least": 10}, "orders", CUSTOMER, session=session, schedule=True)
    request_id = asked.id

result = app.AsyncResult(request_id).get(timeout=60)
token = toolbox.create_token(asked)
answer = Client(application).get(f"/files/{token}", environ_overrides={"REMOTE_USER": CUSTOMER})
json.dump(
    {
        "result": result,
        "status": answer.status_code,
        "text": answer.text,
        "path": f"/files/{token}",
        "types": registry.names(),
        "beat": sorted(app.conf.beat_schedule),
        "own": app.send_task("shop.stocktaking").get(timeout=60),
    },
    sys.stdout,
)
