"""A job a round, to make one round anew: by itself, or back-filled over the seeds."""

import dagster as dg

from afmrl_models.config import Profile


def round_jobs(profile: Profile) -> dg.Definitions:
    """The jobs `round_0`, `round_1`, …: the round's assets with their checks; one run a seed."""
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                f"round_{number}",
                selection=dg.AssetSelection.groups(f"round_{number}"),
                description="This round alone, from what lies there of the rounds before it.",
            )
            for number in range(profile.rounds + 1)
        ]
    )
