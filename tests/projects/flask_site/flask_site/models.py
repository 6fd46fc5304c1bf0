"""The site's table."""

from __future__ import annotations

from datetime import date

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The site's tables."""


class Reading(Base):
    """What a station has measured on a day."""

    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date]
    station: Mapped[str]
    remark: Mapped[str]
