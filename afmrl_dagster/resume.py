"""What a resumed run keeps: outputs that Dagster's own records show to be finished and up to date."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from afmrl_dagster.resources import RUN_FILE, Pipeline
from afmrl_dagster.seeds import is_seeded, partition_of
from afmrl_dagster.settings import MadeWith, settings_digest
from afmrl_dagster.tables import RAW_CATALOG

_CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"
_STATED_BY_ASSET = "dagster/data_version_is_user_provided"
_INPUT_DATA_VERSION = "dagster/input_data_version/"
_READ = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}


@dataclass(frozen=True)
class Output:
    """What an asset leaves: once, or once for each seed."""

    key: dg.AssetKey
    seed: int | None

    def __str__(self) -> str:
        name = self.key.to_user_string()
        return name if self.seed is None else f"{partition_of(self.seed)}  {name}"


@dataclass(frozen=True)
class _Made:
    """How the output that lies there was made."""

    at: float
    tags: dict[str, str]
    passed: frozenset[str]
    settings: MadeWith | None


@dataclass
class Records:
    """Reads what Dagster recorded of the outputs of one profile.

    An output names the run that made it, for one Dagster instance serves many profiles. It is done when that
    run recorded it and all its blocking checks passed there, the settings it depends on are the same today,
    and nothing upstream is undone or was made later. An upstream asset that states its own data version
    (the catalog's digest) may be newer if it states the same.
    """

    pipeline: Pipeline
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    _runs: dict[str, Sequence[dg.EventLogEntry]] = field(default_factory=dict)

    def faults(self) -> dict[Output, str | None]:
        """Every output of the profile: None if it is done, else what speaks against it."""
        graph = self.definitions.resolve_asset_graph()
        made: dict[Output, _Made] = {}
        verdicts: dict[Output, str | None] = {}
        for key in graph.toposorted_asset_keys:
            blocking = {
                check.name
                for check in graph.asset_check_keys
                if check.asset_key == key and graph.get(check).blocking
            }
            for output in self.outputs(key):
                found = self._made(output)
                parents = [
                    parent
                    for parent_key in sorted(graph.get(key).parent_keys)
                    for parent in self.outputs(parent_key)
                    if output.seed is None or parent.seed in (None, output.seed)
                ]
                if found is None:
                    verdicts[output] = "not made yet"
                    continue
                made[output] = found
                verdicts[output] = self._own_fault(output, found, blocking) or next(
                    (fault for p in parents if (fault := self._fault_of(p, verdicts, made, found))), None
                )
        return verdicts

    def outputs(self, key: dg.AssetKey) -> list[Output]:
        """The asset's outputs: one for each seed where it is seeded."""
        profile = self.pipeline.profile()
        return (
            [Output(key, s) for s in profile.seeds] if is_seeded(profile, key.path) else [Output(key, None)]
        )

    def _own_fault(self, output: Output, found: _Made, blocking: set[str]) -> str | None:
        if missing := sorted(blocking - found.passed):
            return f"did not pass {', '.join(missing)}"
        profile = self.pipeline.profile()
        key, made_with = output.key.path, found.settings
        digest = found.tags.get(_CODE_VERSION) if made_with is None else made_with.digest
        if digest != settings_digest(profile, key):
            others = [] if made_with is None else made_with.other_than(profile, key)
            return f"made with other settings: {', '.join(others)}" if others else "its settings have changed"
        if tuple(output.key.path) == RAW_CATALOG and profile.catalog.source.kind != "generated":
            from afmrl_models.catalog.sources import open_source

            source = open_source(profile.catalog, self.pipeline.directory(RAW_CATALOG))
            if source.digest() != found.tags.get(DATA_VERSION):
                return "the table or its photos have changed"
        return None

    def _fault_of(
        self, parent: Output, verdicts: dict[Output, str | None], made: dict[Output, _Made], child: _Made
    ) -> str | None:
        if verdicts[parent] is not None:
            return f"follows {parent}"
        name, tags = parent.key.to_user_string(), made[parent].tags
        same_data = tags.get(_STATED_BY_ASSET) == "true" and (
            tags.get(DATA_VERSION) == child.tags.get(_INPUT_DATA_VERSION + name)
        )
        return f"older than {parent}" if made[parent].at > child.at and not same_data else None

    def _made(self, output: Output) -> _Made | None:
        pipeline = self.pipeline if output.seed is None else self.pipeline.of_seed(output.seed)
        directory = pipeline.directory(output.key.path)
        try:
            run_id = (directory / RUN_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        partition = None if output.seed is None else partition_of(output.seed)
        at, tags, passed = 0.0, None, set()
        for entry in self._entries(run_id):
            event = entry.get_dagster_event()
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                if event.asset_key == output.key and event.partition == partition:
                    at, tags = (
                        entry.timestamp,
                        dict(event.step_materialization_data.materialization.tags or {}),
                    )
            else:
                check = event.asset_check_evaluation_data
                if check.asset_key == output.key and check.passed:
                    passed.add(check.check_name)
        return None if tags is None else _Made(at, tags, frozenset(passed), MadeWith.read(directory))

    def _entries(self, run_id: str) -> Sequence[dg.EventLogEntry]:
        if run_id not in self._runs:
            known = self.instance.has_run(run_id)
            self._runs[run_id] = list(entries(self.instance, run_id, _READ)) if known else []
        return self._runs[run_id]


def entries(
    instance: dg.DagsterInstance, run_id: str, kinds: set[dg.DagsterEventType]
) -> Iterator[dg.EventLogEntry]:
    """All events of these kinds that a run has recorded, in their order."""
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor, kinds)
        yield from (record.event_log_entry for record in page.records)
        if not page.has_more:
            return
        cursor = page.cursor
