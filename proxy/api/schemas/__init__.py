"""The OpenAPI document: FastAPI's part of it, completed by what handlers read and answer without FastAPI's help, and by the raw routes."""

from proxy.api.schemas.document import completed

__all__ = ["completed"]
