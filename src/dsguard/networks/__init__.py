"""Networks and their training. Surrogates are made of them, and studies train them.

Needs torch: ``pip install 'dsguard[fsp]'``.
"""

try:
    import torch  # noqa: F401 - only to fail with a clear message where it is missing
except ImportError as error:
    from dsguard.errors import MissingExtraError

    raise MissingExtraError.of("torch", "fsp") from error  # noqa: EM101
