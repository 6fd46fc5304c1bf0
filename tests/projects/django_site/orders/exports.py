"""The site's file types."""

from __future__ import annotations

from typing import Any

from bgtasks import registry
from bgtasks.contrib.django import DjangoFileType
from orders.forms import OrdersForm
from orders.models import Order


@registry.register
class Orders(DjangoFileType):
    """The orders of some days."""

    file_type = "orders"
    file_description = "Orders"
    form_class = OrdersForm

    def get_items(self, criteria: Any) -> Any:
        chosen = criteria.value
        found = Order.objects.filter(day__range=(chosen["from_date"], chosen["until_date"])).order_by("id")
        return found.values_list("id", "day", "customer", "remark")

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = dataset.count() > 100 and not dataset.criteria.value["at_once"]
