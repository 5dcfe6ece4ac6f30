"""Great Expectations' context of one judgement, and the site of Data Docs it leaves."""

import html
import re
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from afmrl_models.attributes.judgement.index_page import index_page
from afmrl_models.config.expectations import Entry

if TYPE_CHECKING:
    from afmrl_models.attributes.judgement.judging import Verdict

_SITE = "site"
# To pages of suites, which the site has none of (see `_site`).
_DEAD_LINK = re.compile(r'<a href="[./]*expectations/[^"]*"[^>]*>([^<]*)</a>')
_SHOWN = 20


class Context:
    """Frames judged in a context that is forgotten afterwards; what it found stays in a static site."""

    def __init__(self, docs: Path | None) -> None:
        self._docs = docs
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._frames = self._context.data_sources.add_pandas("product_attributes")
        for site in list(self._context.variables.data_docs_sites or {}):
            self._context.delete_data_docs_site(site)
        if docs is not None:
            self._context.add_data_docs_site(_SITE, cast(Any, _site(docs.with_name(f".{docs.name}.partial"))))

    def validate(
        self, entry: Entry, frame: pd.DataFrame, expectations: Sequence[Expectation]
    ) -> tuple[list[Mapping[str, Any]], Path | None]:
        """What was found of each expectation of the entry; the page that `build` will write."""
        batch = self._frames.add_dataframe_asset(entry.name).add_batch_definition_whole_dataframe("whole")
        for expectation in expectations:
            expectation.description = expectation.description or entry.description
            expectation.severity = FailureSeverity(entry.severity)
        suite = self._context.suites.add(gx.ExpectationSuite(entry.name, expectations=list(expectations)))
        definition = gx.ValidationDefinition(name=entry.name, data=batch, suite=suite)
        result = self._context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame.reset_index(drop=True)},
            result_format={"result_format": "COMPLETE"},
        )
        found: list[Mapping[str, Any]] = [deepcopy(dict(one.to_json_dict())) for one in result.results]
        return found, self._page(result)

    def build(self, entries: Sequence[Entry], verdicts: Sequence["Verdict"]) -> None:
        """Write the site under a temporary name, then put it in the place of the last one."""
        if self._docs is None:
            return
        partial = self._docs.with_name(f".{self._docs.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self._context.build_data_docs()
        for page in partial.rglob("*.html"):
            page.write_text(_DEAD_LINK.sub(r"\1", page.read_text(encoding="utf-8")), encoding="utf-8")
        index = index_page(entries, verdicts, self._docs)
        (partial / "index.html").write_text(index, encoding="utf-8")
        shutil.rmtree(self._docs, ignore_errors=True)
        partial.rename(self._docs)

    def _page(self, result: Any) -> Path | None:
        """Make what the site shows of the result harmless and short; the page's address."""
        if self._docs is None:
            return None
        store = self._context.validation_results_store
        keys: Any = store.list_keys()
        key = next(k for k in keys if k.expectation_suite_identifier.name == result.suite_name)
        for one in result.results:
            one.result = _harmless(one.result)
            one.expectation_config.kwargs = _harmless(one.expectation_config.kwargs)
        store.set(key, result)
        return self._docs / "validations" / Path(*key.to_tuple()).with_suffix(".html")


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        # Its pages repeat the vocabularies, which are catalog text, and are not escaped.
        "site_section_builders": {"expectations": "None"},
    }


def _harmless(value: Any) -> Any:
    """Catalog text as HTML shows it, for Great Expectations' pages put it in as it is; long lists cut."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {_harmless(key): _harmless(item) for key, item in list(value.items())}
    if isinstance(value, list | tuple | set):
        shown = [_harmless(item) for item in list(value)[:_SHOWN]]
        return shown + ([f"… {len(value) - _SHOWN} more"] if len(value) > _SHOWN else [])
    return value
