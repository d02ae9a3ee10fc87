"""How Alembic reaches the database."""

from alembic import context
from sqlalchemy import create_engine, pool

from dsguard.dmcp.model import Base, wait_for_others

url = context.config.get_main_option("sqlalchemy.url")
assert url is not None
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            wait_for_others(connection)  # several services may start at once
        context.run_migrations()
