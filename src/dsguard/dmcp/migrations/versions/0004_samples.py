"""Samples of datasets, and indices of the trail: by dataset, and by time."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_samples_dataset_id", "samples", ["dataset_id"])
    op.create_index("ix_audit_dataset_number", "audit", ["dataset", "number"])
    op.create_index("ix_audit_time", "audit", ["time"])


def downgrade() -> None:
    """Forget them."""
    op.drop_index("ix_audit_time", "audit")
    op.drop_index("ix_audit_dataset_number", "audit")
    op.drop_index("ix_samples_dataset_id", "samples")
    op.drop_table("samples")
