"""``Settings``, all sections together: reading and checking them.

Precedence: command-line flag, then environment (``RANKD_LISTEN``, ``RANKD_SCORING__THREADS``), then the TOML file
named by ``RANKD_CONFIG`` or ``--config``, then the default here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from rankd_client.integration.settings import INTEGRATION_VARIABLES

from rankd.errors import ConfigError
from rankd.settings.access import AuthSection, LimitsSection, SigningSection, TlsSection
from rankd.settings.adaptation import AdaptSection
from rankd.settings.fleet import FleetSection
from rankd.settings.observation import CompletionLogSection, HttpSection, PageSection
from rankd.settings.ordering import OrderSection
from rankd.settings.pilot import PilotSection
from rankd.settings.promotion import PromotionSection
from rankd.settings.scoring import ScoringSection
from rankd.settings.section import LONGEST, split_address
from rankd.settings.trust import GuardSection, QualitySection

_JSON: dict[Any, str] = {tuple: '["a", "b"]', dict: '{"1": "mean"}'}
"""Examples of lists and tables as variables."""
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP|SCTP).*)?$")

Provider = Literal["auto", "cuda", "cpu"]


class Settings(BaseSettings):
    """The daemon's settings."""

    model_config = SettingsConfigDict(
        env_prefix="RANKD_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    listen: str = Field("127.0.0.1:50051", description="HOST:PORT of the gRPC services.")
    metrics: str = Field(
        "127.0.0.1:9464", description="HOST:PORT of metrics, probes and the page to look at; empty is off."
    )
    admin: str = Field("127.0.0.1:50052", description="HOST:PORT of the admin service; empty is off.")
    ranker: str | Path | None = Field(
        None,
        description="Directory of the ranker to serve, or minilm-l6 or ngram, the bundled ones. Default: the one that "
        "was promoted last in the registry (promotion.follow), else minilm-l6.",
    )
    registry: Path | None = Field(None, description="Directory below which the admin service may load rankers.")
    provider: Provider = Field("auto", description="Where the model runs; cuda is an error where there is none.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log event.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    drain_delay: float = Field(
        0.0, ge=0, le=LONGEST, description="Seconds between failing health and refusing calls on SIGTERM."
    )
    drain_timeout: float = Field(
        20.0, gt=0, le=LONGEST, description="Seconds that calls under way may take on SIGTERM."
    )
    limits: LimitsSection = LimitsSection()
    scoring: ScoringSection = ScoringSection()
    order: OrderSection = OrderSection()
    quality: QualitySection = QualitySection()
    guard: GuardSection = GuardSection()
    adapt: AdaptSection = AdaptSection()
    fleet: FleetSection = FleetSection()
    promotion: PromotionSection = PromotionSection()
    pilot: PilotSection = PilotSection()
    http: HttpSection = HttpSection()
    page: PageSection = PageSection()
    completion_log: CompletionLogSection = CompletionLogSection()
    tls: TlsSection = TlsSection()
    auth: AuthSection = AuthSection()
    signing: SigningSection = SigningSection()

    @field_validator("listen", "metrics", "admin")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            split_address(value)
        return value

    @field_validator("listen")
    @classmethod
    def _needed(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty: give HOST:PORT, such as 127.0.0.1:50051")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get("RANKD_CONFIG"):
            sources.append(InitSettingsSource(settings_cls, init_kwargs=_read_file(path)))
        return tuple(sources)


def load_settings(**flags: Any) -> Settings:
    """Read the settings; ``flags`` that are None do not count.

    Raises:
        ConfigError: naming every wrong setting and what is wrong with it.
    """
    _refuse_unknown_variables()
    _refuse_bad_json()
    try:
        return Settings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as error:
        lines = [_explain(e) for e in error.errors(include_url=False)]
        raise ConfigError("wrong settings:\n  " + "\n  ".join(lines)) from None
    except SettingsError as error:
        raise ConfigError(f"settings cannot be read: {error}") from None


def _read_file(path: str) -> dict[str, Any]:
    where = f"RANKD_CONFIG (--config): {path}"
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{where} is a directory: name a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not UTF-8 text: save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None


def _refuse_bad_json() -> None:
    """Name the variable that holds a list, a table or a section and is no JSON; pydantic names the outermost one."""
    for name, example in _json_variables().items():
        value = os.environ.get(name)
        if not value:
            continue
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(f"{name}: must be JSON, such as {example}") from None


def _json_variables() -> dict[str, str]:
    """Variables whose value is JSON, each with an example."""
    sections = {n: f.annotation for n, f in Settings.model_fields.items() if _is_section(f.annotation)}
    collections = {
        _variable(f"{section}.{name}"): example
        for section, kind in sections.items()
        for name, field in kind.model_fields.items()
        if (example := _JSON.get(get_origin(field.annotation)))
    }
    return collections | {_variable(section): '{"setting": 1}' for section in sections}


def _is_section(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be ignored in silence; Kubernetes' own (RANKD_SERVICE_HOST, ...) are none of ours."""
    known = {_variable(name) for name, _, _ in settings_reference()} | {
        "RANKD_CONFIG",
        "RANKD_ADMIN_TARGET",  # of the command line, as are some of the next
        *INTEGRATION_VARIABLES,  # of an engine's plug-in, which may be started from the same shell
    }
    for name in sorted(os.environ):
        if not name.startswith("RANKD_") or name in known or _KUBERNETES.search(name):
            continue
        if name.startswith("RANKD_PROXY_"):
            continue  # of `rankd proxy`, as above
        if name in {_variable(section) for section in Settings.model_fields}:
            continue  # a whole section as JSON
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {near[0]}?" if near else "`rankd serve --help-settings` lists them"
        raise ConfigError(f"{name}: no such setting; {hint}")


def _variable(name: str) -> str:
    return "RANKD_" + name.upper().replace(".", "__")


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"] if part != "[key]")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "no such setting; `rankd serve --help-settings` lists them"
    # What is in a list or a table has no variable of its own.
    known = {setting for setting, _, _ in settings_reference()}
    whole = next((v for v in (".".join(map(str, error["loc"][:n])) for n in (1, 2)) if v in known), name)
    return f"{name or 'settings'} ({_variable(whole) if whole else 'RANKD_*'}): {message}"


def settings_reference() -> list[tuple[str, str, str]]:
    """All settings as (name, default, description), for help texts and the reference."""
    return list(_walk(Settings, ""))


def _walk(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if _is_section(kind):
            rows += _walk(kind, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            rows.append((prefix + name, _shown(default), field.description or ""))
    return rows


def _shown(default: Any) -> str:
    """A default as it would be set by a variable; empty where there is none."""
    if default is None or default in ((), {}):
        return ""
    return json.dumps(default) if isinstance(default, tuple | dict) else str(default)
