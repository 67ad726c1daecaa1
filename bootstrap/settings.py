"""All configuration, in one place: flags, then the environment, then a YAML file, then the defaults.

Everything is validated together, and every value knows where it came from. Nothing else reads a setting from
the environment: ``kinokit up`` loads them once, the agent and the front receive the values.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticUndefined

from bootstrap import pasted_secret, web_address
from bootstrap.errors import KitError
from bootstrap.platforms import PLATFORMS
from bootstrap.yaml_errors import Document, of_schema

PREFIX = "KINOKIT_"
ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.*:\[\]-]+/?")
FILE_NAME = "kinokit.yaml"
# Names that images, the hub and the platforms use, read after KINOKIT_<NAME>.
COMMON_ALIASES: dict[str, tuple[str, ...]] = {
    "model": ("MODEL",),
    "service": ("SERVICE",),
    "port": ("PORT",),
    "platform": ("PLATFORM",),
    "public_url": ("PUBLIC_URL",),
    "hf_token": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    "hf_endpoint": ("HF_ENDPOINT",),
    "civitai_token": ("CIVITAI_TOKEN", "CIVITAI_API_TOKEN", "CIVITAI_API_KEY"),
}


def _aliases() -> dict[str, tuple[str, ...]]:
    found = dict(COMMON_ALIASES)
    for platform in PLATFORMS.values():
        for setting, variable in platform.SETTINGS.items():
            found[setting] = (*found.get(setting, ()), variable)
    return found


ALIASES = _aliases()


WebhookEvent = Literal["video.queued", "video.in_progress", "video.completed", "video.failed"]


class Settings(BaseModel):
    """What a user may set. The flag of ``data_dir`` is --data-dir, its variable KINOKIT_DATA_DIR."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: Annotated[
        str, Field(min_length=1, description="A shipped model, or your own manifest's path or URL")
    ] = "demo"
    service: Annotated[
        Literal["api", "ui"], Field(description="api: programs only; ui: the studio as well")
    ] = "ui"
    host: Annotated[str, Field(description="The address to listen at; 127.0.0.1 keeps others out")] = (
        "0.0.0.0"  # noqa: S104
    )
    port: Annotated[int, Field(ge=1, le=65535, description="The port to listen at")] = 8000
    data_dir: Annotated[
        Path | None, Field(description="Models, clips, queue; else the platform's directory")
    ] = None
    box: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            description="This box's name where several share the data directory; else the platform's",
        ),
    ] = None
    platform: Annotated[
        str | None, Field(description="Marketplace; else recognised from the environment")
    ] = None
    public_url: Annotated[
        str | None, Field(pattern="^https?://", description="Address for people, when known")
    ] = None
    profile: Annotated[
        str | None, Field(description="A profile of the manifest; else the best that fits")
    ] = None
    auth: Annotated[
        Literal["auto", "on", "off"], Field(description="auto: on when others can reach the port")
    ] = "auto"
    allowed_hosts: Annotated[
        tuple[str, ...], Field(description="Other names by which people's browsers reach the port")
    ] = ()
    token: Annotated[SecretStr | None, Field(description="The API token; else one is made")] = None
    hf_token: Annotated[SecretStr | None, Field(description="For gated models; sent to the hub only")] = None
    civitai_token: Annotated[SecretStr | None, Field(description="A key of civitai.com; sent there only")] = (
        None
    )
    mirror_tokens: Annotated[
        dict[str, SecretStr], Field(description="Keys of other hosts: host=key, with commas; each to its own")
    ] = {}
    hf_endpoint: Annotated[str, Field(pattern="^https?://", description="The model hub")] = (
        "https://huggingface.co"
    )
    mirrors: Annotated[tuple[str, ...], Field(description="Hub mirrors, tried in order after the hub")] = ()
    verify: Annotated[bool, Field(description="Hash files again that were verified at an earlier boot")] = (
        False
    )
    idle_stop_minutes: Annotated[
        float | None,
        Field(gt=0, description="Stop the rented box after so long without work or use; never when absent"),
    ] = None
    stop_after_hours: Annotated[
        float | None,
        Field(
            gt=0, description="Stop the rented box so long after its start, busy or not; never when absent"
        ),
    ] = None
    hourly_cost: Annotated[
        float | None, Field(ge=0, description="US dollars an hour, shown beside what waits")
    ] = None
    max_queued: Annotated[int, Field(ge=1, description="Clips that may wait; more are refused")] = 100
    stall_seconds: Annotated[
        float, Field(gt=0, description="A clip in which nothing moves for so long, or for five clips, fails")
    ] = 300.0
    job_timeout_seconds: Annotated[
        float | None, Field(gt=0, description="A clip that takes longer fails; none does when absent")
    ] = None
    min_free_disk_mib: Annotated[
        float | None,
        Field(ge=0, description="With less free disk no clip is begun; else 512, or a tenth of a small disk"),
    ] = None
    tls: Annotated[
        Literal["off", "auto", "files"],
        Field(description="auto: https with a certificate that the box signs itself; files: with yours"),
    ] = "off"
    tls_certificate: Annotated[
        Path | None, Field(description="For tls: files; PEM, with those between it and its authority")
    ] = None
    tls_key: Annotated[Path | None, Field(description="The key of tls_certificate; PEM")] = None
    cors_origins: Annotated[
        tuple[str, ...], Field(description="Other sites whose pages may use the API, with commas; * for any")
    ] = ()
    frame_ancestors: Annotated[
        tuple[str, ...], Field(description="Other sites that may show the studio in a frame, with commas")
    ] = ()
    keep_days: Annotated[
        float | None, Field(gt=0, description="Finished clips are deleted after this; never when absent")
    ] = None
    keep_gib: Annotated[
        float | None, Field(gt=0, description="Clips may take so much; the oldest finished ones go")
    ] = None
    make_room_gib: Annotated[
        float | None, Field(ge=0, description="The oldest finished clips go where less is free")
    ] = None
    results_url: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9]+://[^@]+$", description="Where clips are copied as they finish: s3://…"),
    ] = None
    results_endpoint_url: Annotated[
        str | None,
        Field(pattern=r"^https?://[^@]+$", description="An S3 that is not Amazon's; else AWS_ENDPOINT_URL's"),
    ] = None
    results_name: Annotated[
        str, Field(max_length=200, description="How copies are called: {date} {time} {id} {user} {model}")
    ] = "{date}-{time}-{id}"
    results_link_hours: Annotated[
        float, Field(ge=0, le=168, description="How long a link to a copy holds; 0 makes none")
    ] = 24.0
    webhook_url: Annotated[
        str | None, Field(pattern=r"^https?://[^@\s]+$", description="Who is told when a clip has ended")
    ] = None
    webhook_secret: Annotated[
        SecretStr | None, Field(description="Signs webhooks: whsec_ and base64; else one is made")
    ] = None
    webhook_format: Annotated[
        Literal["openai", "runpod"], Field(description="Whose messages webhooks look like")
    ] = "openai"
    webhook_events: Annotated[
        tuple[WebhookEvent, ...], Field(min_length=1, description="What webhooks tell, with commas")
    ] = ("video.completed", "video.failed")
    log_format: Annotated[
        Literal["text", "json"], Field(description="Of the logs: lines for people, or a JSON object a line")
    ] = "text"
    metrics: Annotated[
        Literal["token", "open", "off"],
        Field(description="Who may read /metrics: whoever has the token, anybody, nobody"),
    ] = "token"
    private_hosts: Annotated[
        tuple[str, ...],
        Field(description="Hosts of a private network that addresses in requests may name; else public ones"),
    ] = ()
    remote_images: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Photos by address: off, https, http as well, or hosts with commas"),
    ] = ("https",)
    database_url: Annotated[
        SecretStr | None, Field(description="The queue's PostgreSQL, for several fronts; else a file")
    ] = None
    queue_url: Annotated[
        str | None, Field(pattern="^https?://", description="Another box's address, whose jobs are made here")
    ] = None
    worker_token_file: Annotated[
        Path | None, Field(description="That box's worker-token; else the own one")
    ] = None
    source: Annotated[
        str | None,
        Field(description="The kit that a rented box installs: git URL@REF, wheel, release.json; else known"),
    ] = None
    script_url: Annotated[
        str | None, Field(pattern="^(https?://|$)", description="Its start script; else found by the source")
    ] = None
    box_image: Annotated[
        str | None, Field(description="The image of a rented box: Debian, Ubuntu, or a kit's; else Ubuntu's")
    ] = None
    accept_licence: Annotated[
        bool, Field(description="The model's licence is accepted; else a terminal is asked once")
    ] = False
    detach: Annotated[
        bool, Field(description="Return once the service is up; it goes on in the background")
    ] = False

    def revealed(self) -> dict[str, Any]:
        """As JSON knows it, secrets in clear: for the kit's own processes, never for a log or a flag."""
        plain = {name: value.get_secret_value() for name, value in self if isinstance(value, SecretStr)}
        of_hosts = {host: token.get_secret_value() for host, token in self.mirror_tokens.items()}
        return self.model_dump(mode="json") | plain | {"mirror_tokens": of_hosts}

    def host_tokens(self) -> dict[str, str]:
        """The tokens of all hosts but the hub, in clear; each is for its own host alone."""
        civitai = {"civitai.com": self.civitai_token} if self.civitai_token else {}
        return {host: token.get_secret_value() for host, token in {**civitai, **self.mirror_tokens}.items()}

    @field_validator(
        "mirrors",
        "webhook_events",
        "private_hosts",
        "remote_images",
        "allowed_hosts",
        "cors_origins",
        "frame_ancestors",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """An environment variable or a flag writes several of them with commas."""
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("cors_origins", "frame_ancestors")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [each for each in value if not ORIGIN.fullmatch(each)]
        if wrong:
            raise ValueError(f"must be like https://example.org, or *: {', '.join(wrong)}")
        return tuple(each.rstrip("/") for each in value)

    @field_validator("mirrors")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [address for address in value if not address.startswith(("http://", "https://"))]
        if wrong:
            raise ValueError(f"must begin with http:// or https://: {', '.join(wrong)}")
        return value

    @field_validator("token", "hf_token", "civitai_token", "webhook_secret", mode="before")
    @classmethod
    def _pasted(cls, value: Any) -> Any:
        return pasted_secret.cleaned(value)

    @field_validator("results_name")
    @classmethod
    def _names_each(cls, value: str) -> str:
        fields = re.sub(r"\{(date|time|id|user|model)\}", "", value)
        if not re.fullmatch(r"[A-Za-z0-9._=/-]*", fields) or re.search(r"(^|/)(\.|/|$)", value):
            raise ValueError("must be letters, digits, ._=-, folders and {date} {time} {id} {user} {model}")
        if "{id}" not in value:
            raise ValueError("must hold {id}, or one copy would replace another")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        """Receivers decode what follows whsec_, and refuse everything when they cannot."""
        text = "" if value is None else value.get_secret_value()
        if text.startswith("whsec_"):
            try:
                base64.b64decode(text.removeprefix("whsec_"), validate=True)
            except ValueError:
                raise ValueError("must be base64 after whsec_") from None
        return value

    @field_validator("mirror_tokens", mode="before")
    @classmethod
    def _of_hosts(cls, value: Any) -> Any:
        """A variable writes ``host=key,host=key``; of an address its host counts."""
        if isinstance(value, str):
            pairs = [part.strip() for part in value.split(",") if part.strip()]
            if not all(re.fullmatch(r"[^=]+=.+", pair) for pair in pairs):
                raise ValueError("must be host=key, and commas between several")
            value = dict(pair.split("=", 1) for pair in pairs)
        if not isinstance(value, dict):
            return value
        found = {web_address.host(str(host)): pasted_secret.cleaned(key) for host, key in value.items()}
        return {host: key for host, key in found.items() if key is not None}

    @field_validator("platform")
    @classmethod
    def _known_platform(cls, value: str | None) -> str | None:
        name = (value or "").strip().lower().replace("_", "-") or None
        if name is not None and name not in PLATFORMS:
            raise ValueError(f"must be one of {', '.join(PLATFORMS)}")
        return name


@dataclass(frozen=True)
class Configuration:
    """The settings, and where each value came from: "flag --port", "environment PORT", a file, "default"."""

    settings: Settings
    sources: Mapping[str, str]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Name, value and source of every setting, for people; secrets are masked."""
        return {
            name: {"value": _masked(value), "source": self.sources[name]} for name, value in self.settings
        }


class BadSettings(KitError):
    """Everything that is wrong with the configuration, at once."""

    def __init__(self, problems: list[str]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            f"the configuration has {len(problems)} mistake{'s' if len(problems) > 1 else ''}:\n{lines}",
            fix="correct them where they were set; `kinokit config` shows every setting and its source",
        )
        self.problems = tuple(problems)


def load(flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None = None) -> Configuration:
    """Put the configuration together.

    ``flags``: None means "not given". ``file``: an explicit file must exist; KINOKIT_CONFIG names one too;
    else ``kinokit.yaml`` of the working directory is read when there is one.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems = _unknown_variables(env)
    written, file_name, file_problems = _from_file(file or _path(env.get(f"{PREFIX}CONFIG")))
    for name in Settings.model_fields:
        value, source = _first(name, flags, env, written, file_name)
        sources[name] = source
        if source != "default":
            values[name] = value
    try:
        settings = Settings.model_validate(values)
    except ValidationError as errors:
        problems += [_worded(dict(error), values, sources) for error in errors.errors(include_url=False)]
    problems += file_problems
    if problems:
        raise BadSettings(problems)
    return Configuration(settings, sources)


def _first(
    name: str, flags: Mapping[str, Any], env: Mapping[str, str], written: Mapping[str, Any], file_name: str
) -> tuple[Any, str]:
    """The value that wins and its source. An empty variable is as good as none: compose files set them."""
    if flags.get(name) is not None:
        return flags[name], f"flag --{name.replace('_', '-')}"
    for variable in (f"{PREFIX}{name.upper()}", *ALIASES.get(name, ())):
        if env.get(variable) and not _is_of_kubernetes(variable, env[variable]):
            return env[variable], f"environment {variable}"
    if name in written:
        return written[name], file_name
    return None, "default"


def _from_file(path: Path | None) -> tuple[dict[str, Any], str, list[str]]:
    """The file's values, its name, and what is wrong with its keys; values are checked with all others."""
    explicit = path is not None
    path = path or Path(FILE_NAME)
    if not path.is_file():
        problems = [f"the configuration file {path} does not exist"] if explicit else []
        return {}, str(path), problems
    try:
        document = Document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return {}, str(path), [f"{path} cannot be read: {error}"]
    if document.data is None or document.mistakes:
        return {}, str(path), [f"{path}, {mistake}" for mistake in document.mistakes]
    if not isinstance(document.data, dict):
        return {}, str(path), [f"{path}: must be lines of `name: value`"]
    unknown = [m for m in of_schema(document, Settings) if m.problem.startswith("unknown key")]
    known = {name: value for name, value in document.data.items() if name in Settings.model_fields}
    return known, str(path), [f"{path}, {mistake}" for mistake in unknown]


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


# Variables of the kit that are not settings: read by the start script, the images and the manifests.
OTHERS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "CONFIG",
        "COMMAND",
        "HOME",
        "PAGE_PID",
        "LISTEN_FD",
        "FAILED_MINUTES",
        "CONTAINER",
        "VOLUME",
        "AS_ROOT",
        "IMAGE",
    )
)


# A Service called kinokit-… puts these into every container of its namespace.
OF_A_SERVICE = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)")
ADDRESS_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://.+")


def _is_of_kubernetes(variable: str, value: str) -> bool:
    """Whether Kubernetes set it: by its name, or by an address as the value of a port."""
    if OF_A_SERVICE.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and ADDRESS_OF_A_SERVICE.fullmatch(value) is not None


def _unknown_variables(env: Mapping[str, str]) -> list[str]:
    """A misspelt KINOKIT_ variable is reported only when it looks like a setting: others may own more."""
    import difflib

    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    problems = []
    for variable in sorted(env):
        is_ours = variable.startswith(PREFIX) and not _is_of_kubernetes(variable, env[variable])
        if is_ours and variable not in known | OTHERS:
            near = difflib.get_close_matches(variable, sorted(known), n=1, cutoff=0.85)
            problems += [f"environment {variable}: no such setting, did you mean {near[0]}?"] if near else []
    return problems


def _worded(error: Mapping[str, Any], values: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """The mistake with its source and value; a secret's value is never shown."""
    name = str(error["loc"][0])
    problem = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    shown = "" if _is_secret(name) else f", got {web_address.shown(repr(values.get(name)))}"
    return f"{name} ({sources[name]}): {problem[:1].lower()}{problem[1:]}{shown}"


def _is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def _masked(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, str):
        return web_address.without_queries(re.sub(r"//[^/@]*@", "//********@", value))
    if isinstance(value, tuple):
        return tuple(map(_masked, value))
    if isinstance(value, dict):
        return {name: _masked(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def default(name: str) -> Any:
    """The default of a setting, for help texts."""
    value = Settings.model_fields[name].default
    return None if value is PydanticUndefined else value
