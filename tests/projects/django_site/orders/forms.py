"""The site's forms."""

from __future__ import annotations

from typing import Any

from django import forms


class OrdersForm(forms.Form):
    """Which orders."""

    from_date = forms.DateField()
    until_date = forms.DateField()
    at_once = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        """The one before the other."""
        cleaned: dict[str, Any] = super().clean()
        if not self.errors and cleaned["until_date"] < cleaned["from_date"]:
            self.add_error("until_date", "This is before the first day.")
        return cleaned
