"""What a Django site has that mounts ours."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("exports/", include("bgtasks.contrib.django.urls"))]
