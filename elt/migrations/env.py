"""Alembic's environment: runs the migrations on the connection that `elt.migrate` hands over."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="ops", transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
