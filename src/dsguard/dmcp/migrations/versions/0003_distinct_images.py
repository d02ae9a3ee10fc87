"""Grants that count distinct images, and the images that they have counted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Grants that are there go on counting each image as often as it is sent."""
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("distinct", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(sa.Column("lease_hours", sa.Integer(), nullable=True))
    op.create_table(
        "counted",
        sa.Column("grant_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"]),
        sa.PrimaryKeyConstraint("grant_id", "image_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Forget both: these grants count each image as often as it is sent."""
    op.drop_table("counted")
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.drop_column("lease_hours")
        batch_op.drop_column("distinct")
