"""The site's views."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from bgtasks.contrib.django import respond_to, serve_file
from bgtasks.errors import InvalidForm
from orders.exports import Orders
from orders.forms import OrdersForm
from orders.models import Closing


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    """The form; and what it asks for."""
    form = OrdersForm()
    if request.method == "POST":
        try:
            _, response = respond_to(Orders, request)
            return response
        except InvalidForm as invalid:
            form = invalid.form
    return render(request, "orders/orders.html", {"form": form}, status=400 if form.is_bound else 200)


@login_required
@require_POST
def close(request: HttpRequest) -> HttpResponse:
    """Close the books, and ask for the file of what is in them: both or neither."""
    try:
        with transaction.atomic():
            _, response = respond_to(Orders, request)
            Closing.objects.create(month=request.POST["from_date"])
            return response
    except IntegrityError:
        return HttpResponse("The books are closed already.", status=409)


def own(request: HttpRequest, token: str) -> HttpResponse:
    """A download from a view of the site's own."""
    return serve_file(request, token)
