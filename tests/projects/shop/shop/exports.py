"""The application's file types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Select, select

from bgtasks import FileType, registry
from shop.models import Order


@registry.register
class Orders(FileType):
    """A customer's own orders."""

    file_type = "orders"
    formats = ("csv", "xlsx")

    class Criteria(BaseModel):
        least: int = 0

    def get_items(self, criteria: Any) -> Select[Any]:
        mine = select(Order.id, Order.amount).where(Order.customer == criteria.requester)
        return mine.where(Order.amount >= criteria.least).order_by(Order.id)
