"""Settings of a pipeline that is left running: its runs, what starts them, whom it tells of a failure."""

from typing import Literal

from pydantic import Field, field_validator

from afmrl_models.config.strict import Strict


class RunsConfig(Strict):
    """How steps run, which changes nothing that they make."""

    device_lock: Literal["gpu", "always"] = Field(
        "gpu", description="gpu: one step at a time uses a GPU; always: one step at a time on a CPU, too"
    )
    retries: int = Field(3, ge=0, description="further tries of a step that the network has failed")
    retry_after: float = Field(
        30, ge=0, description="seconds before the first; doubled each time, with jitter"
    )


class CatalogChangedConfig(Strict):
    """The sensor that starts a run when the catalog has changed."""

    every: int = Field(300, ge=10, description="seconds between looks at the catalog")
    quiet: float = Field(
        900, ge=0, description="seconds the catalog must stay as it is first: an export may be half written"
    )


class AlertsConfig(Strict):
    """Whom a failure is told; the log `<AFMRL_HOME>/<profile>/alerts.log` has every one."""

    webhook: str | None = Field(
        None, description="http(s) URL that gets JSON with `text`, as Slack, Mattermost and Teams read it"
    )
    warnings: bool = Field(True, description="failed checks that only warn are told, too, as warnings")
    timeout: float = Field(10, gt=0, description="seconds for one try of the webhook")
    tries: int = Field(3, ge=1, description="tries of the webhook, with growing pauses between them")

    @field_validator("webhook")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("a webhook begins with http:// or https://")
        return url or None
