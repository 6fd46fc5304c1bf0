"""The site's tables."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Something was bought."""

    day = models.DateField()
    customer = models.CharField(max_length=100)
    remark = models.TextField()


class Closing(models.Model):
    """The books of a month are closed, once."""

    month = models.DateField(unique=True)
