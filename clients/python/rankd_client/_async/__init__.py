"""The asyncio client. The other one, in ``_sync``, is made from it: ``make generate``."""
