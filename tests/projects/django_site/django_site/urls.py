"""The site's pages."""

from __future__ import annotations

from django.urls import include, path
from orders import views

urlpatterns = [
    path("", views.orders, name="orders"),
    path("close/", views.close, name="close"),
    path("own/<token>", views.own, name="own"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("exports/", include("bgtasks.contrib.django.urls")),
]
