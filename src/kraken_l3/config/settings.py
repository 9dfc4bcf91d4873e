"""The recorder's configuration: config.yaml, then environment, then flags; each overrides the one before."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional
from urllib.parse import urlsplit

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from kraken_l3.errors import ConfigError, did_you_mean
from kraken_l3.model.address import is_loopback, parse_address
from kraken_l3.model.alerts import ALERT_KINDS, AlertKind
from kraken_l3.protocol.signature import decode_secret

__all__ = [
    "DEFAULT_CONFIG",
    "ENV_PREFIX",
    "SECRET_KEYS",
    "Settings",
    "environment_without_secrets",
    "load_settings",
    "require_audit_key",
    "require_key",
]

DEFAULT_CONFIG = Path("config.yaml")
ENV_PREFIX = "KRAKEN_L3_"
#: The names that Kraken's own tools and the original recorder use, beside KRAKEN_L3_API_KEY and KRAKEN_L3_API_SECRET.
SECRET_ENV = {"api_key": "KRAKEN_API_KEY", "api_secret": "KRAKEN_API_SECRET"}
#: Of the audit, which must not have the recorder's; in no file, since no recorder needs them.
AUDIT_ENV = ("KRAKEN_AUDIT_API_KEY", "KRAKEN_AUDIT_API_SECRET")
#: Kraken's keys have 56 characters and more.
SHORTEST_SECRET = 8
#: What could be guessed within a year is no token.
SHORTEST_TOKEN = 16
_EXAMPLE = "`kraken-l3 init FILE` writes an example"
_LOOPBACK = "for this machine only (127.0.0.1, ::1, localhost)"
_YES_OR_NO = "Write true or false"
#: What to write instead, for every key.
_HINTS = {
    "symbols": "Write a list such as [BTC/USD, ETH/USD], a pattern such as '*/USD', or all",
    "depth": "Write 10, 100 or 1000",
    "output_dir": "Write the path of a directory; it is made when it is missing",
    "api_key": "Copy it again from Kraken (Settings, API), and write it in quotes",
    "api_secret": "Copy the whole private key again from Kraken (Settings, API); it usually ends in '=='",
    "rest_url": f"Write https://HOST; http:// is allowed {_LOOPBACK}",
    "ws_url": f"Write wss://HOST/PATH; ws:// is allowed {_LOOPBACK}",
    "public_ws_url": f"Write wss://HOST/PATH; ws:// is allowed {_LOOPBACK}",
    "tier": "Write standard or pro, whichever your Kraken account is",
    "redundancy": "Write 2, 1, or auto: 2 where Kraken's limits have room for it (`kraken-l3 plan`)",
    "redial": _YES_OR_NO,
    "trades": _YES_OR_NO,
    "verify": _YES_OR_NO,
    "seal": _YES_OR_NO,
    "upload": "Write a URL that fsspec knows (s3://bucket/prefix) or a directory, and `seal: true`",
    "keep_days": "Write a number of days (0: no limit), and where the days are uploaded to (`upload`)",
    "keep_gb": "Write a number of gigabytes (0: no limit), and where the days are uploaded to (`upload`)",
    "http": "Write HOST:PORT, such as 127.0.0.1:9464; leave it out, and nothing is served",
    "http_token": "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(24))'",
    "alerts": f"Write some of [{', '.join(ALERT_KINDS)}]",
    "alert_hook": "Write a command as in a shell, without pipes: /usr/local/bin/page-me --urgent",
    "alert_webhook": f"Write https://HOST/PATH; http:// is allowed {_LOOPBACK}",
    "relay": "Write 127.0.0.1:8765; other machines reach it through an SSH tunnel (ssh -L)",
    "flush_interval_s": "Write seconds, above 0 and up to 60; the default is 0.2",
    "fsync_interval_s": "Write seconds, above 0 and up to 600; the default is 1",
    "liveness_timeout_s": "Write seconds, 2 to 300; the default is 10",
}


class Settings(BaseSettings):
    """Every key of config.yaml; each is also the environment variable KRAKEN_L3_<KEY>."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    symbols: Annotated[list[str], NoDecode] = Field(
        default=[], description="Pairs to record: names such as BTC/USD, patterns such as */USD, or all"
    )
    depth: Literal[10, 100, 1000] = Field(default=10, description="Price levels a side")
    output_dir: Path = Field(default=Path("data"), description="Directory of the archive")
    api_key: SecretStr = Field(default=SecretStr(""), description="Public half of the API key")
    api_secret: SecretStr = Field(default=SecretStr(""), description="Private half of the API key, base64")
    rest_url: str = Field(default="https://api.kraken.com", description="REST endpoint")
    ws_url: str = Field(default="wss://ws-l3.kraken.com/v2", description="WebSocket endpoint of level3")
    public_ws_url: str = Field(
        default="wss://ws.kraken.com/v2", description="Public WebSocket endpoint (instruments, trades)"
    )
    tier: Literal["standard", "pro"] = Field(default="standard", description="Your Kraken account's rate-limit tier")
    redundancy: Literal["auto", 1, 2] = Field(
        default="auto", description="Connections that carry each symbol (auto: 2 where Kraken's limits have room)"
    )
    redial: bool = Field(default=False, description="Replace each connection once a day, when another can stand in")
    trades: bool = Field(default=False, description="Record the public trades of the same symbols too")
    verify: bool = Field(default=True, description="Check every message against Kraken's checksum while recording")
    seal: bool = Field(default=False, description="Compress each day when it is over, with a manifest")
    upload: str = Field(default="", description="Where sealed days are copied to and proved: a URL or a directory")
    keep_days: int = Field(default=0, ge=0, description="Remove uploaded days here that are older; 0: no limit")
    keep_gb: float = Field(
        default=0.0, ge=0, description="Remove the oldest uploaded days here until this much is left; 0: no limit"
    )
    http: str = Field(default="", description="Address on which page, metrics and health are served")
    http_token: SecretStr = Field(
        default=SecretStr(""), validate_default=True, description="What HTTP clients have to show"
    )
    alerts: Annotated[list[AlertKind], NoDecode] = Field(
        default=list(ALERT_KINDS), description="What to send an alert for, with a hook or a webhook"
    )
    alert_hook: str = Field(default="", description="Command that is run for each alert")
    alert_webhook: SecretStr = Field(default=SecretStr(""), description="URL to which each alert is posted")
    relay: str = Field(default="", description="Address on which local programs get what is recorded, as from Kraken")
    flush_interval_s: float = Field(
        default=0.2, gt=0, le=60, description="Seconds until a line is handed to the system"
    )
    fsync_interval_s: float = Field(default=1.0, gt=0, le=600, description="Seconds until a line survives a power cut")
    liveness_timeout_s: float = Field(default=10.0, ge=2, le=300, description="Seconds of silence until a reconnect")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` merged: it knows where each value came from."""
        return (init_settings,)

    @field_validator("depth", "redundancy", mode="before")
    @classmethod
    def _parse_number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.strip().isdecimal() else value

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
            raise ValueError("must be a list of names")
        names = [part.strip().upper() if part.strip().lower() != "all" else "all" for part in parts if part.strip()]
        return list(dict.fromkeys(names))

    @field_validator("symbols")
    @classmethod
    def _check_symbols(cls, value: list[str]) -> list[str]:
        for name in value:
            if name != "all" and "/" not in name:
                raise ValueError(f"{name!r} is not a pair such as BTC/USD")
            base, _, quote = name.partition("/")
            for old, new in (("XBT", "BTC"), ("XDG", "DOGE")):
                if old in (base, quote):
                    raise ValueError(f"{name!r} is the old name; write {name.replace(old, new)!r}")
        return value

    @field_validator("http")
    @classmethod
    def _check_http(cls, value: str) -> str:
        return str(parse_address(value)) if value else ""

    @field_validator("relay")
    @classmethod
    def _check_relay(cls, value: str, info: Any) -> str:
        address = parse_address(value) if value else None
        if address is not None and not is_loopback(address.host):
            raise ValueError(f"must be for this machine only, got {value}: its key is no secret")
        if address is not None and address.port and str(address) == info.data.get("http"):
            raise ValueError("must be another port than that of `http`")
        return str(address) if address is not None else ""

    @field_validator("http_token")
    @classmethod
    def _check_http_token(cls, value: SecretStr, info: Any) -> SecretStr:
        token, http = value.get_secret_value(), info.data.get("http", "")
        if http and not token and not is_loopback(parse_address(http).host):
            raise ValueError(f"other machines can reach {http}, so a token is needed")
        if token and not (len(token) >= SHORTEST_TOKEN and token.isascii() and token.isprintable()):
            raise ValueError(f"must have at least {SHORTEST_TOKEN} printable ASCII characters")
        return value

    @field_validator("alerts", mode="before")
    @classmethod
    def _split_alerts(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
            raise ValueError("must be a list of words")
        return [part.strip().lower() for part in parts if part.strip()]

    @field_validator("alert_hook")
    @classmethod
    def _check_hook(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError as error:
            raise ValueError(f"is not a command: {error}") from None
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _check_webhook(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if value.get_secret_value() and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must start with https:// and a host name")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("must start with https://: without TLS others could read it")
        return value

    @field_validator("api_key", "api_secret", "http_token", "alert_webhook", mode="before")
    @classmethod
    def _strip_secret(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("ws_url", "public_ws_url", "rest_url")
    @classmethod
    def _check_url(cls, value: str, info: Any) -> str:
        schemes = ("http", "https") if info.field_name == "rest_url" else ("ws", "wss")
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"must start with {schemes[1]}:// and a host name")
        if parts.scheme == schemes[0] and not is_loopback(parts.hostname):
            raise ValueError(f"must start with {schemes[1]}://: without TLS others could read your key")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            # The journal keeps the configuration, and logs name the URL.
            raise ValueError("must hold no user name, password or query; Kraken takes none")
        return value.rstrip("/")

    @field_validator("upload")
    @classmethod
    def _check_upload(cls, value: str, info: Any) -> str:
        if value and not info.data.get("seal", True):
            raise ValueError("needs `seal: true`: only sealed days are uploaded")
        if "://" in value and ("@" in value or "?" in value):
            # The journal keeps the configuration, and the list of processes shows it.
            raise ValueError("must hold no user name, password or query; the store's own configuration has those")
        return value.rstrip("/")

    @field_validator("keep_days", "keep_gb")
    @classmethod
    def _check_kept(cls, value: float, info: Any) -> float:
        if value and not info.data.get("upload", "?"):
            raise ValueError("needs `upload`: a day that is nowhere else is never removed")
        return value

    def without_secrets(self) -> dict[str, Any]:
        """The configuration as the journal may hold it."""
        # A command may have secrets among its words, and is nothing that a reader of the archive needs.
        return self.model_dump(mode="json", exclude={*SECRET_KEYS, "alert_hook"})


SECRET_KEYS = tuple(key for key, field in Settings.model_fields.items() if field.annotation is SecretStr)


def environment_without_secrets(settings: Settings) -> dict[str, str]:
    """Our environment variables for a child process that needs none of our secrets.

    They are left out by name, and by value under whatever name (a value too short for a secret is in many others).
    """
    names = {ENV_PREFIX + key.upper() for key in SECRET_KEYS} | set(SECRET_ENV.values()) | set(AUDIT_ENV)
    values = [getattr(settings, key).get_secret_value() for key in SECRET_KEYS]
    secrets = [value for value in values if len(value) >= SHORTEST_SECRET]
    return {
        name: value
        for name, value in os.environ.items()
        if name not in names and not any(secret in value for secret in secrets)
    }


def require_key(settings: Settings) -> tuple[str, str]:
    """The API key and its secret.

    Raises:
        ConfigError: one is missing, or is none: the key not plain text, the secret not base64.
    """
    key, secret = settings.api_key.get_secret_value(), settings.api_secret.get_secret_value()
    if not key or not secret:
        missing = "api_key" if not key else "api_secret"
        raise ConfigError(
            "Kraken gives level3 data only to holders of an API key",
            where=missing,
            hint=(
                "Make one at kraken.com (Settings, API) with the single permission 'WebSocket interface - On' and "
                "put it into config.yaml or KRAKEN_API_KEY and KRAKEN_API_SECRET. `make demo` needs no key"
            ),
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("holds characters that no key has", where="api_key", hint=_HINTS["api_key"])
    decode_secret(secret)
    return key, secret


def require_audit_key(settings: Settings) -> tuple[str, str]:
    """The audit's API key and its secret, from the environment.

    Raises:
        ConfigError: one is missing or is none, or it is the recorder's.
    """
    key, secret = (os.environ.get(name, "").strip() for name in AUDIT_ENV)
    if not key or not secret:
        raise ConfigError(
            "an audit needs a key of its own",
            where=AUDIT_ENV[0] if not key else AUDIT_ENV[1],
            hint=(
                "Make a second key at kraken.com (Settings, API) with the single permission 'Query open orders & "
                f"trades' and set {AUDIT_ENV[0]} and {AUDIT_ENV[1]}"
            ),
        )
    if key == settings.api_key.get_secret_value():
        raise ConfigError(
            "this is the recorder's key",
            where=AUDIT_ENV[0],
            hint=(
                "Make a second one for the audit. Two programs with one key get in each other's way: its nonces must "
                "grow from call to call. And the recorder's key should not be able to read orders"
            ),
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("holds characters that no key has", where=AUDIT_ENV[0], hint=_HINTS["api_key"])
    try:
        decode_secret(secret)
    except ConfigError as error:
        raise ConfigError(error.what, where=AUDIT_ENV[1], hint=error.hint) from None
    return key, secret


def load_settings(config: Optional[Path] = None, flags: Optional[dict[str, Any]] = None) -> tuple[Settings, list[str]]:
    """Read file, environment and flags; the second value are warnings for the user.

    Args:
        config: the file; None means config.yaml here, if it exists.
        flags: values from the command line; None values count as not given.

    Raises:
        ConfigError: one clear line with the key and the remedy.
    """
    path = config if config is not None else DEFAULT_CONFIG
    values = _read_file(path, required=config is not None)
    in_file = set(values)
    sources = {key: str(path) for key in values}
    for key, (name, text) in _from_environment().items():
        values[key], sources[key] = text, name
    for key, value in (flags or {}).items():
        if value is not None:
            values[key], sources[key] = value, "--" + key.replace("_", "-")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _explain(error, sources) from None
    return settings, _warnings(path, in_file)


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError("there is no such file", where=str(path), hint="`kraken-l3 init` writes one") from None
        return {}
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", where=str(path), hint="Save it as UTF-8") from None
    except OSError as error:
        hint = "Check that it is a file and that you may read it"
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        what = f"is not YAML: {getattr(error, 'problem', 'cannot be parsed')}"
        raise ConfigError(what, where=where, hint=f"Correct it; {_EXAMPLE}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError("must consist of 'key: value' lines", where=str(path), hint=f"Correct it; {_EXAMPLE}")
    return {str(key): value for key, value in values.items() if value is not None}


def _from_environment() -> dict[str, tuple[str, str]]:
    found = {}
    for key in Settings.model_fields:
        for name in (ENV_PREFIX + key.upper(), SECRET_ENV.get(key, "")):
            if os.environ.get(name):
                found[key] = (name, os.environ[name])
    return found


def _warnings(path: Path, in_file: set[str]) -> list[str]:
    warnings = []
    if in_file & set(SECRET_KEYS) and sys.platform != "win32" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{path} holds a secret and others can read it. Run: chmod 600 {path}")
    known = {ENV_PREFIX + key.upper() for key in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    return warnings + [f"{name} is not a setting and is ignored" for name in unknown]


def _explain(error: ValidationError, sources: dict[str, str]) -> ConfigError:
    """The first of pydantic's findings as one line; its own text could quote a secret and is not used for those."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = str(first["loc"][0]) if first["loc"] else "configuration"
    where = f"{key} ({sources[key]})" if key in sources else key
    if first["type"] == "extra_forbidden":
        known = f"The keys are: {', '.join(Settings.model_fields)}"
        return ConfigError("there is no such key", where=where, hint=did_you_mean(key, Settings.model_fields) or known)
    message = str(first["msg"]).replace("Value error, ", "").replace("Input should", "must")
    return ConfigError(message[:1].lower() + message[1:], where=where, hint=_HINTS[key])
