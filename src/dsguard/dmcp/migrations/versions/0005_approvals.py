"""The source of grants, and webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add both; the grants that there are were given by managers."""
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("source", sa.String(300), nullable=False, server_default=""))
    op.create_table(
        "webhooks",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
        ),
        sa.PrimaryKeyConstraint("dataset_id"),
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_table("webhooks")
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.drop_column("source")
