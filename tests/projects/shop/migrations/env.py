"""The application's own migrations. The tables of bgtasks are in the same database, and none of its business."""

from __future__ import annotations

import os

from alembic import context
from shop.models import Base
from sqlalchemy import create_engine


def include_name(name: str | None, kind: str, _: object) -> bool:
    """Autogenerate looks at the application's tables alone."""
    return kind != "table" or not (name or "").startswith("bgtasks_")


engine = create_engine(os.environ["SHOP_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=include_name)
    with context.begin_transaction():
        context.run_migrations()
