"""Table rows from what tasks return."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tasks.records import COUNTED, Gradient, Sample, TrialResult

Row = dict[str, Any]


def sample_row(
    trial_id: int, wave: int, replica: int, index: int, depth: int, version: int, seed: int, sample: Sample
) -> Row:
    """A row of `samples`."""
    return {
        "trial_id": trial_id, "wave": wave, "replica": replica, "index": index, "depth": depth,
        "tokens": list(sample.tokens), "architecture": json.dumps(sample.architecture),
        "architecture_hash": sample.architecture_hash, "log_prob": sample.log_prob,
        "policy_version": version, "seed": seed,
    }  # fmt: skip


def result_row(result: TrialResult, wave: int, reused_from: int | None = None) -> Row:
    """A row of `results`."""
    training = result.training
    return {
        "trial_id": result.trial_id, "wave": wave, "status": result.status, "reward": result.reward,
        "metric": training.metric if training and result.status == "ok" else None,
        "parameters": training and training.parameters, "flops": training and training.flops,
        "seconds": result.seconds, "epochs": len(training.epochs) if training else 0, "worker": result.worker,
        "device": training and training.device, "precision": training and training.precision,
        "micro_batch": training and training.micro_batch, "attempts": result.attempts, "reused_from": reused_from,
        "error": result.error, "ended_at": time.time_ns() // 1_000,
    }  # fmt: skip


def reused_row(trial_id: int, wave: int, source: Row) -> Row:
    """A row of `results` that stands on another trial's, of the same architecture."""
    return {
        **source, "trial_id": trial_id, "wave": wave, "reused_from": source["trial_id"], "seconds": 0.0, "epochs": 0,
        "attempts": 0, "ended_at": time.time_ns() // 1_000,
    }  # fmt: skip


def microseconds(value: Any) -> Any:
    """A time as it is read from a table as it is written to one, since 1970; all else as it is."""
    return round(1e6 * value.timestamp()) if isinstance(value, datetime) else value


def epoch_rows(result: TrialResult) -> list[Row]:
    """Rows of `epochs`."""
    epochs = result.training.epochs if result.training else ()
    return [{"trial_id": result.trial_id, **asdict(epoch)} for epoch in epochs]


def update_row(
    gradient: Gradient, update: int, results: Sequence[Row], duplicates: float,
    *, wave: int, replica: int, version: int, staleness: int, seconds: float,
) -> Row:  # fmt: skip
    """A row of `updates`: a gradient from the results of some children, and the steps taken once it was used."""
    counted = [row["reward"] for row in results if row["status"] in COUNTED]
    return {
        "update": update, "wave": wave, "replica": replica, "baseline": gradient.baseline,
        "mean_reward": sum(counted) / len(counted) if counted else None, "best_reward": max(counted, default=None),
        "entropy": _or_missing(gradient.entropy), "gradient_norm": _or_missing(gradient.norm),
        "duplicates": duplicates, "num_ok": len(counted), "num_failed": len(results) - len(counted),
        "policy_version": version, "staleness": staleness, "seconds": seconds,
    }  # fmt: skip


def _or_missing(value: float) -> float | None:
    return None if math.isnan(value) else value
