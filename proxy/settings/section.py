"""What every section of the settings is, and the types several of them need."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

PREFIX = "DEJA_"
"""Of environment variables."""
EMBEDDED_URL = "embedded://"
CLIENT_KEY = f"{PREFIX}API_KEY"
"""No setting: the key with which commands speak to a running Deja."""
ADMIN_KEY = f"{PREFIX}ADMIN_KEY"
"""No setting either: the key with which commands administer a running Deja."""
OPENAI_URL = "https://api.openai.com/v1"


def _comma_list(value: object) -> object:
    """Let the environment write a list as `a,b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
SecretCommaList = Annotated[tuple[SecretStr, ...], BeforeValidator(_comma_list)]


class Section(BaseModel):
    """Settings that belong together; a name it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
