"""Everything of ``bgtasks.wsgi.application``: ``path("exports/", include("bgtasks.contrib.django.urls"))``."""

from __future__ import annotations

from django.urls import re_path

from bgtasks.contrib.django.views import mounted

app_name = "bgtasks"
urlpatterns = [re_path(r"^(?P<path>(?:files|requests)(?:/.*)?)$", mounted, name="application")]
