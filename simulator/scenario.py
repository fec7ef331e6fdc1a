"""Scenarios: what a load test runs, loaded from TOML and from the command line.

Checks the values and nothing else; the patterns of simulator/runs/ carry them out. Each table is a model that refuses
unknown keys, so that no program ignores a table or a key that it does not know.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeGuard, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from simulator.errors import ScenarioError, SloError
from simulator.slo import Slo

USED_BY_ALL = frozenset(
    {
        *("name", "schema", "description", "seed", "pattern", "slo", "network", "limits"),
        *("media.audio", "media.video", "media.resolution", "media.frame_rate", "media.aiortc"),
        *("participants.bots", "participants.observers"),
    }
)
"""Tables and keys that every pattern uses. A scenario that sets another one its pattern does not use is refused."""
COUNT = "participants.count"
PATTERN_PACKAGE = "simulator.runs"
"""Each module of it that holds a `PATTERN` is a pattern."""

BotMix = Literal["native", "aiortc", "mixed"]
Ratio = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """A table of a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=Table)


class Pattern(Protocol):
    """What a scenario asks its pattern; the patterns themselves derive from `RunPattern` (runs/base.py)."""

    name: str
    """As in the key `pattern`."""
    options: type[Table] | None
    """The pattern's own table of the scenario file, which has its name; None if it needs none."""
    uses: frozenset[str]
    """Which tables and keys it uses of those that not every pattern does, as `ramp` or `hold.duration_s`."""

    def participants(self, scenario: Scenario) -> int | None:
        """Return how many participants its own options make; None where `participants.count` says it."""

    def overridden(self, scenario: Scenario) -> Mapping[str, str]:
        """Return which keys have no effect beside others of this scenario, and because of which."""

    def check(self, scenario: Scenario) -> None:
        """Refuse a scenario that this pattern can never run, with a ValueError."""

    def promises(self, scenario: Scenario) -> frozenset[str]:
        """Return the paths of the figures that its runs always measure."""


class Participants(Table):
    """Who is in the call."""

    count: int = Field(default=8, ge=2, le=1000)
    """Participants in the call."""
    bots: BotMix = "mixed"
    """`native` carries load, `aiortc` decodes what it receives, `mixed` is `observers` aiortc bots and native ones."""
    observers: int = Field(default=2, ge=0, le=50)
    """aiortc bots among `mixed` ones. Each costs 4 % of a core and 3 % more for each pair it decodes."""
    watched: int = Field(default=4, ge=1)
    """How many peers an aiortc bot of a `mixed` call receives; native bots receive all."""
    bots_per_process: int = Field(default=3, ge=1, le=16)
    """aiortc bots in one child process; more save memory, fewer use more cores."""
    relay_only: bool = False
    """aiortc bots use only relayed candidates, of the gateway's TURN servers; not for `group`, which has no gateway."""

    @model_validator(mode="after")
    def _able_to_relay(self) -> Participants:
        if self.relay_only and self.aiortc_count() == 0:
            raise ValueError(
                "native bots have no TURN client, so relay_only needs aiortc bots; set bots to aiortc, or to mixed "
                "with observers"
            )
        return self

    def aiortc_count(self) -> int:
        """Return the number of aiortc bots."""
        if self.bots == "native":
            return 0
        return self.count if self.bots == "aiortc" else min(self.observers, self.count)


class Ramp(Table):
    """How participants join."""

    over_s: float = Field(default=1.0, ge=0, le=3600)
    """Time over which the joins are spread evenly; 0 lets all join at once."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """How long after the last join all streams may need to flow before the run goes on without them."""


class Media(Table):
    """What each bot sends."""

    audio: bool = True
    """opus, 50 packets/s."""
    video: bool = True
    """VP8; at 180p and 30 frames/s about 40 packets/s."""
    resolution: Literal["180p", "360p", "720p"] = "180p"
    """Of the video: 280, 700 or 1500 kbit/s."""
    frame_rate: Literal[15, 30] = 30
    """Frames of video in a second; the bit rate is the same."""
    aiortc: Literal["clip", "synthetic"] = "clip"
    """What aiortc bots send: the pre-encoded clip, or picture and tone encoded live (five times the CPU)."""
    dtx: bool = False
    """Silence is not sent, but for one opus packet in 400 ms; native bots only."""

    @model_validator(mode="after")
    def _some_kind(self) -> Media:
        if not (self.audio or self.video):
            raise ValueError("a call without audio and video measures nothing; set one of them to true")
        if self.dtx and not self.audio:
            raise ValueError("dtx is of audio; set audio to true, or leave dtx out")
        return self

    @property
    def kinds(self) -> tuple[Literal["audio", "video"], ...]:
        """The kinds that are sent, audio first."""
        return tuple(k for k in ("audio", "video") if getattr(self, k))


class Link(Table):
    """One direction of the emulated network between a bot and the server."""

    delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    """Added to every datagram."""
    jitter_ms: float = Field(default=0.0, ge=0, le=10_000)
    """Extra delay from 0 to this, every value equally frequent over time; the order is kept."""
    loss: Ratio = 0.0
    """Share of datagrams that are dropped, 0 to 1."""
    rate_bps: int = Field(default=0, ge=0)
    """Bandwidth in bits per second with 200 ms of queue; 0 is unlimited."""

    @property
    def is_clean(self) -> bool:
        """Whether this direction changes nothing."""
        return not (self.delay_ms or self.jitter_ms or self.loss or self.rate_bps)


class Network(Table):
    """What the network between each bot and the server does, each way."""

    up: Link = Link()
    """From the bot to the server."""
    down: Link = Link()
    """From the server to the bot."""


class Hold(Table):
    """The measured part of the run."""

    duration_s: float = Field(default=30.0, ge=1, le=86_400)
    """How long is measured once all have joined."""
    settle_s: float = Field(default=1.0, ge=0, le=600)
    """Time between the last join and the measured part, which keeps the joins out of it."""


class Switching(Table):
    """How calls of the gateway change between peer to peer and the media server."""

    transitions: int = Field(default=200, ge=1, le=100_000)
    """`switch`: how often the third participant joins and leaves: that many changes each way."""
    stay_s: float = Field(default=0.5, ge=0, le=600)
    """`switch`: how long the call stays in a mode once all media flows."""
    prewarm: bool = True
    """Whether the gateway prepares the media server's room while two participants talk directly."""


class Stage(Table):
    """A part of the measured time, in which there are so many calls of so many participants."""

    duration_s: float = Field(ge=1, le=86_400)
    calls: int = Field(ge=0, le=500)
    people: int = Field(ge=2, le=100)


Service = Literal["media", "gateway"]


class Action(Table):
    """Something that is done at a time of the run."""

    s: float = Field(ge=0, le=86_400)
    """When, in seconds from the beginning of the measured time."""
    do: Literal[
        "leave",
        "join",
        "mute",
        "unmute",
        "camera-off",
        "camera-on",
        "kill-client",
        "partition",
        "kill-worker",
        "kill-media",
        "kill-gateway",
        "stop",
        "restart",
    ]
    """`stop` is SIGSTOP for `for_s`, `restart` an orderly end that is followed by a start; both of a `service`."""
    call: int = Field(default=1, ge=1, le=500)
    """Which call, from 1."""
    participant: int = Field(default=1, ge=1, le=100)
    """Which participant of it, from 1."""
    service: Service | None = None
    for_s: float = Field(default=3.0, gt=0, le=600)
    """How long a `partition` or a `stop` lasts."""

    @model_validator(mode="after")
    def _of_a_service(self) -> Action:
        if (self.do in ("stop", "restart")) != (self.service is not None):
            raise ValueError(
                f'{self.do} needs service = "media" or "gateway"'
                if self.service is None
                else f"{self.do} has no service"
            )
        return self

    @property
    def needs_stack(self) -> bool:
        """Whether it is done to a service, and not to a participant."""
        return self.do in ("kill-worker", "kill-media", "kill-gateway", "stop", "restart")


class Limits(Table):
    """When load generator or machine are judged too weak for the run to count (the verdict is then `void`)."""

    lag_p95_ms: float = Field(default=50.0, gt=0)
    """How late the generator may send and read, as 95th percentile over its per-second worst cases."""
    stall_ms: float = Field(default=250.0, gt=0)
    """How late it may be at worst: the longest stall."""
    stalled_ratio: Ratio = 0.02
    """Share of the measured time in which a generator may stand still (at least 20 ms late)."""
    core_percent: float = Field(default=92.0, gt=0)
    """CPU of one generator thread (native) or process (aiortc), of one core."""
    socket_drops: int = Field(default=0, ge=0)
    """Datagrams that reached the bots' sockets and were dropped there."""
    late_send_ratio: Ratio = 0.1
    """Share of packets that bots sent more than 5 ms after they were due."""
    wait_ms: float = Field(default=0.2, gt=0)
    """How long the media server's threads may wait for a CPU that others use, mean of a second."""
    steal_ratio: Ratio = 0.05
    """Share of a second's CPU time that the hypervisor may give to other guests."""
    disturbed_ratio: Ratio = 0.1
    """Share of the seconds that may be beyond `wait_ms` or `steal_ratio`."""


class Scenario(Table):
    """A load test, ready to run.

    Example:
        ```python
        from simulator.scenario import Scenario

        scenario = Scenario.load("group").with_values({"participants": {"count": 4}})
        assert scenario.participants.count == 4
        ```
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    """Short name; part of the run directory's name."""
    scenario_schema: Literal[1] = Field(default=1, alias="schema")
    """Version of the format."""
    description: str = ""
    """One sentence on what it is for."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Start of every random choice: emulated network, order of arrival of packets from the clip."""
    pattern: str = "group"
    """What happens: the name of a pattern (simulator/runs/)."""
    participants: Participants = Participants()
    ramp: Ramp = Ramp()
    media: Media = Media()
    network: Network = Network()
    hold: Hold = Hold()
    switching: Switching = Switching()
    limits: Limits = Limits()
    stages: tuple[Stage, ...] = ()
    """Parts of the measured time, one after the other."""
    at: tuple[Action, ...] = ()
    """What is done when."""
    slo: tuple[str, ...] = ()
    """Comparisons that replace or extend the default ones; see slo.py."""

    @model_validator(mode="after")
    def _able_to_be_silent(self) -> Scenario:
        if self.media.dtx and self.participants.bots != "native":
            raise ValueError("media.dtx is of native bots; set participants.bots to native")
        return self

    @field_validator("slo")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for expression in value:
            try:
                Slo.parse(expression)
            except SloError as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("pattern")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in patterns():
            raise ValueError(f"there is no pattern {value!r}; known: {', '.join(patterns())}")
        return value

    def takes(self, key: str) -> bool:
        """Return whether its pattern uses a key, given by its path."""
        pattern = patterns()[self.pattern]
        if key in pattern.overridden(self):
            return False
        table, _, name = key.partition(".")
        if table == pattern.name:
            return pattern.options is not None and name in {"", *pattern.options.model_fields}
        used = USED_BY_ALL | pattern.uses
        return table in used or key in used

    def options(self, kind: type[T]) -> T:
        """Return the table of a pattern's own options; with defaults where the scenario does not set them."""
        return next((value for _, value in self if isinstance(value, kind)), kind())

    @classmethod
    def load(cls, name_or_path: str) -> Scenario:
        """Read a scenario by the name of a ready one, or from a TOML file.

        Raises:
            ScenarioError: No such scenario, or its content is wrong; every wrong key is named with its path.
        """
        values, source = read_values(name_or_path)
        if "parts" in values:
            raise ScenarioError(f"{source} is a suite of scenarios; run it with `meeshy simulate {source}`")
        return cls.from_values(values, source=source)

    @classmethod
    def parse(cls, text: str, *, source: str = "scenario") -> Scenario:
        """Read a scenario from TOML text; `source` is named in errors.

        Raises:
            ScenarioError: The content is wrong.
        """
        return cls.from_values(_parse(text, source), source=source)

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], *, source: str = "scenario", flags: Mapping[str, str] | None = None
    ) -> Scenario:
        """Check plain values as they stand in a TOML file; `flags` says which option set a key, by its path.

        Raises:
            ScenarioError: The content is wrong, or sets what its pattern does not use.
        """
        flags = flags or {}
        scenario = _validated(values, source, flags)
        pattern = patterns()[scenario.pattern]
        count = pattern.participants(scenario)
        derived = () if count is None else (COUNT,)
        if unused := [key for key in _keys(values) if not scenario.takes(key) and key not in derived]:
            raise _refusal(source, [_unused(key, scenario, flags) for key in unused])
        if count is not None:
            given = scenario.participants.count
            if "count" in scenario.participants.model_fields_set and given != count:
                origin = f" (set by {flags[COUNT]})" if COUNT in flags else ""
                made = f"the other options of the pattern {pattern.name!r} make {count} participants"
                raise _refusal(
                    source, [f"{COUNT}: {made}, got {given}{origin}; change those, or leave it out"]
                )
            scenario = _validated(_merge(values, {"participants": {"count": count}}), source, flags)
        try:
            pattern.check(scenario)
        except ValueError as error:
            raise _refusal(source, [f"scenario: {error}"]) from error
        return scenario

    @classmethod
    def from_record(cls, values: Mapping[str, Any], *, source: str) -> Scenario:
        """Read the scenario of a recorded run, which may hold what its pattern does not use: other versions wrote all keys.

        Raises:
            ScenarioError: The content is wrong.
        """
        scenario = _validated(values, source, {})
        used = _only_used(values, scenario)
        if patterns()[scenario.pattern].participants(scenario) is not None:
            used.get("participants", {}).pop("count", None)  # there may have been more than were needed
        return cls.from_values(used, source=source)

    def with_values(
        self, changes: Mapping[str, Any], *, source: str = "options", flags: Mapping[str, str] | None = None
    ) -> Scenario:
        """Return a copy with some values replaced, tables merged key by key; `None` leaves a value as it is.

        Raises:
            ScenarioError: A changed value is wrong.
        """
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if patterns()[self.pattern].participants(self) is not None:
            given.get("participants", {}).pop("count", None)  # follows from what may change now
        return Scenario.from_values(_merge(given, changes), source=source, flags=flags)

    def to_values(self) -> dict[str, Any]:
        """Return all that its pattern uses, defaults included, as plain values."""
        return _only_used(self.model_dump(mode="json", by_alias=True), self)


@functools.cache
def patterns() -> dict[str, Pattern]:
    """Find all patterns, by name: the object `PATTERN` of each module of simulator/runs that has one."""
    package = importlib.import_module(PATTERN_PACKAGE)
    modules = (
        importlib.import_module(f"{PATTERN_PACKAGE}.{m.name}") for m in pkgutil.iter_modules(package.__path__)
    )
    found = (getattr(module, "PATTERN", None) for module in modules)
    return {pattern.name: pattern for pattern in found if pattern is not None}


@functools.cache
def scenario_model() -> type[Scenario]:
    """Return the model of a whole scenario file: `Scenario` with the table of each pattern that has options."""
    own: dict[str, Any] = {
        name: (pattern.options, pattern.options())
        for name, pattern in patterns().items()
        if pattern.options is not None
    }
    if clash := sorted(own.keys() & Scenario.model_fields.keys()):
        raise TypeError(
            f"a pattern may not be called {clash[0]!r}: every scenario has a table or key of that name"
        )
    return create_model("Scenario", __base__=Scenario, **own)


def read_values(name_or_path: str) -> tuple[dict[str, Any], str]:
    """Read the plain values of a ready scenario or of a TOML file; returns them and the name to use in errors.

    Raises:
        ScenarioError: There is no such scenario, or it is not TOML in UTF-8.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            text, source = path.read_text(encoding="utf-8"), str(path)
        except OSError as error:
            raise ScenarioError(f"cannot read scenario {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise ScenarioError(
                f"scenario {path} is not UTF-8: line {line} holds the byte 0x{error.object[error.start]:02x}; "
                "save the file as UTF-8, which TOML requires"
            ) from error
    else:
        ready = ready_scenarios()
        if name_or_path not in ready:
            near = difflib.get_close_matches(name_or_path, ready, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ScenarioError(
                f"no scenario named {name_or_path!r}{hint} Ready ones: {', '.join(ready)}. "
                "Your own is given as the path of a .toml file."
            )
        text, source = _ready_text(name_or_path), name_or_path
    return _parse(text, source), source


def ready_scenarios() -> list[str]:
    """List the scenarios that come with the program."""
    folder = resources.files("simulator") / "scenarios"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values by the paths of their keys into tables."""
    tables: dict[str, Any] = {}
    for path, value in values.items():
        *within, name = path.split(".")
        table = tables
        for part in within:
            table = table.setdefault(part, {})
        table[name] = value
    return tables


def to_toml(values: Mapping[str, Any]) -> str:
    """Write plain scenario values as TOML; what `Scenario.parse` reads back is equal."""
    lines: list[str] = []
    _write_table(lines, "", values)
    return "\n".join(lines).strip() + "\n"


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source} is not TOML: {error}") from error


def _write_table(lines: list[str], prefix: str, values: Mapping[str, Any]) -> None:
    if prefix and any(not isinstance(v, Mapping) for v in values.values()):
        lines += ["", f"[{prefix}]"]
    for key, value in values.items():
        if not isinstance(value, Mapping) and not _is_array(value):
            lines.append(f"{key} = {_toml_value(value)}")
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            _write_table(lines, path, value)
        elif _is_array(value):
            for one in value:
                lines += [
                    "",
                    f"[[{path}]]",
                    *(f"{k} = {_toml_value(v)}" for k, v in one.items() if v is not None),
                ]


def _is_array(value: object) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """Return whether a value is written as an array of tables."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _validated(values: Mapping[str, Any], source: str, flags: Mapping[str, str]) -> Scenario:
    try:
        return scenario_model().model_validate(values)
    except ValidationError as error:
        raise _refusal(source, [_explain(item, flags) for item in error.errors()]) from error


def _refusal(source: str, lines: Sequence[str]) -> ScenarioError:
    return ScenarioError("\n".join([f"{source} cannot be run:", *(f"  {line}" for line in lines)]))


def _unused(key: str, scenario: Scenario, flags: Mapping[str, str]) -> str:
    """Describe a key that the pattern does not use."""
    origin = f" (set by {flags[key]})" if key in flags else ""
    if because := patterns()[scenario.pattern].overridden(scenario).get(key):
        return f"{key}: {because} says it{origin}; leave it out"
    others = sorted(
        name
        for name, pattern in patterns().items()
        if key in pattern.uses or key.partition(".")[0] in {name, *pattern.uses}
    )
    where = f"; patterns that do: {', '.join(others)}" if others else "; no pattern does"
    return f"{key}: the pattern {scenario.pattern!r} does not use it{origin}{where}"


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Return the paths of all keys that are set."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _only_used(values: Mapping[str, Any], scenario: Scenario, prefix: str = "") -> dict[str, Any]:
    """Leave out the keys that the pattern does not use."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            if part := _only_used(value, scenario, f"{prefix}{name}."):
                kept[name] = part
        elif scenario.takes(f"{prefix}{name}"):
            kept[name] = value
    return kept


def _ready_text(name: str) -> str:
    return (resources.files("simulator") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            continue
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _explain(item: Mapping[str, Any], flags: Mapping[str, str]) -> str:
    """Describe one validation error with the path of the key, and the key that was probably meant."""
    path = ".".join(str(part) for part in item["loc"]) or "scenario"
    if item["type"] == "extra_forbidden":
        known = _keys_at(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"{path}: unknown key" + (
            f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
        )
    if item["type"] == "missing":
        return f"{path}: is required"
    message = str(item["msg"])
    if item["type"] == "value_error":
        return f"{path}: {message.removeprefix('Value error, ')}"
    origin = f" (set by {flags[path]})" if path in flags else ""
    return f"{path}: {message[:1].lower()}{message[1:]}, got {item['input']!r}{origin}"


def _keys_at(path: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = scenario_model()
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]
