"""Whether a webhook told of the end of a grant."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Of grants that ended before, nobody knows: they are not given again by a webhook."""
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    """Forget it."""
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.drop_column("withdrawn")
