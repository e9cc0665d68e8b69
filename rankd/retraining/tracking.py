"""A run's options and figures for experiment trackers, by their own libraries; no rows, no prompts.

MLflow's file store, or any tracking URI that it knows, and TensorBoard's event files. Both libraries are optional, and
looked for before a run begins.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankd.errors import ConfigError

Record = dict[str, Any]
_EXPERIMENT = "rankd"
_NEEDS = {"mlflow": ("mlflow", "mlflow"), "tensorboard": ("tensorboard", "tensorboard")}
"""By kind, the module and the extra that brings it."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """Where runs are told."""

    kind: str
    place: str

    def track(self, record: Record, parameters: dict[str, str]) -> None:
        """Tell a run that is over.

        Raises:
            Exception: whatever the library raises.
        """
        _TELL[self.kind](self.place, record, parameters)


def tracker_of(text: str) -> Tracker:
    """What ``mlflow:DIR`` and its like mean.

    Raises:
        ConfigError: another kind, no place, or its library is not installed.
    """
    kind, _, place = text.partition(":")
    if kind not in _NEEDS or not place:
        raise ConfigError(
            f"--track {text}: give mlflow:DIR (or mlflow:URI, such as mlflow:http://host:5000) or tensorboard:DIR"
        )
    module, extra = _NEEDS[kind]
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f"--track {kind} needs the extra: pip install 'rankd[{extra}]'")
    return Tracker(kind, place)


def _mlflow(place: str, record: Record, parameters: dict[str, str]) -> None:
    # It sends usage events unless it is told not to before it is loaded.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    if "://" not in place:
        # A directory was asked for; MLflow wants to hear it twice, since it develops that store no further.
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        place = Path(place).resolve().as_uri()
    client: Any = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=place)
    found = client.get_experiment_by_name(_EXPERIMENT)
    experiment = client.create_experiment(_EXPERIMENT) if found is None else found.experiment_id
    run = client.create_run(experiment, run_name=record["run"], tags={"outcome": record["outcome"]}).info.run_id
    for name, value in parameters.items():
        client.log_param(run, name, value)
    for name, step, figure in _figures(record):
        client.log_metric(run, name, figure, step=step)
    client.set_tag(run, "reason", record["reason"])
    client.set_terminated(run, "FINISHED" if record["exit_status"] in (0, 3, 4) else "FAILED")


def _tensorboard(place: str, record: Record, parameters: dict[str, str]) -> None:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional

    writer: Any = SummaryWriter(str(Path(place) / record["run"]))
    try:
        for name, step, value in _figures(record):
            writer.add_scalar(name, value, step)
        lines = [f"{name}: {value}" for name, value in {**parameters, "outcome": record["outcome"]}.items()]
        writer.add_text("run", "  \n".join([*lines, record["reason"]]))
    finally:
        writer.close()


_TELL: dict[str, Callable[[str, Record, dict[str, str]], None]] = {"mlflow": _mlflow, "tensorboard": _tensorboard}


def _figures(record: Record) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of all that a run measured."""
    for step, epoch in enumerate((record.get("trained") or {}).get("epochs", ())):
        yield "train/loss", step, float(epoch["loss"])
        if epoch["validation_tau"] is not None:
            yield "validation/tau", step, float(epoch["validation_tau"])
    for name, value in (record.get("data") or {}).items():
        if isinstance(value, int):
            yield f"data/{name}", 0, float(value)
    judged = record.get("judged") or {}
    for name in ("tau", "incumbent_tau", "tau_difference"):
        if judged.get(name) is not None:
            for bound, value in zip(("", "_low", "_high"), judged[name], strict=True):
                yield f"held_back/{name}{bound}", 0, float(value)
    yield "seconds", 0, float(record["seconds"])
