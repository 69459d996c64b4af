"""The fit that a stage applies in a run: found, made in turn, or waited for.

What belongs here: when a run makes a fit, and what its days are told where there is none. What does
not: how a fit is made and kept (`fits.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from procezo_assets.datasets import Dataset
from procezo_assets.day_lock import in_turn
from procezo_assets.errors import FitError, FitWaitsError
from procezo_assets.faults import is_transient
from procezo_assets.fits import StoredFit, current_fit, has_fit, make_fit
from procezo_assets.flows import Stage
from procezo_assets.parameters import Parameters


def fit_is_due(stage: Stage, params: Parameters, dataset: Dataset, *, refit: bool) -> bool:
    """Tell whether a run through a stage makes its fit.

    Args:
        stage: The stage.
        params: Its parameters.
        dataset: The dataset.
        refit: Whether fits are made anew.
    """
    if stage.treatment.fit is None:
        return False
    wanted = bool(getattr(params, "fit", True))
    return refit or (wanted and not has_fit(dataset.stage(stage.output)))


def provided_fit(
    stage: Stage,
    params: Parameters,
    dataset: Dataset,
    *,
    refit: bool,
    missing: Sequence[date] = (),
) -> StoredFit | FitError:
    """Make or find the fit of a stage, or say why its days have none.

    A fit is not made again by itself. So none is made while a day is missing that the run was to
    make it from: what it lacks then it would lack for ever.

    Args:
        stage: A stage whose treatment has a fit.
        params: Its parameters.
        dataset: The dataset.
        refit: Whether it is made anew.
        missing: Days of the run that a fault has stopped before they came to the stage.
    """
    named = f"stage '{stage.name}' of dataset '{dataset.name}'"
    try:
        # another run may be making it from the same days
        with in_turn(dataset.fit_lock(stage.output), f"fitting {named}"):
            folder = dataset.stage(stage.output)
            if not fit_is_due(stage, params, dataset, refit=refit):
                found = current_fit(folder)
            elif missing:
                more = f" and {len(missing) - 1} more days" if len(missing) > 1 else ""
                return FitWaitsError(
                    f"the fit of {named} waits for {min(missing)}{more}, stopped before it",
                    "run again when the cause is gone",
                )
            else:
                found = make_fit(
                    stage.treatment,
                    params,
                    dataset=dataset,
                    input_folder=dataset.stage(stage.input),
                    stage_folder=folder,
                )
    except FitError as error:
        return error
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told of by each day
        problem = f"{named} cannot be fitted: {type(error).__name__}: {error}"
        if is_transient(error):
            return FitWaitsError(problem, "run again when the cause is gone")
        return FitError(problem, "correct what it is fitted on, then fit again with --refit")
    return found or FitError(
        f"{named} has no fit", 'make one with --refit, or with "fit": true in the flow'
    )
