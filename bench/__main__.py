"""`python -m bench [PART …] [--output FOLDER]`: measure parts, print each one's table, and write it as JSON."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import (
    controller,
    image_children,
    pipeline,
    quality,
    recurrent,
    scale,
    small_scale,
    start_up,
    summary,
    throughput,
)
from bench.machine import describe


@dataclass(frozen=True)
class Part:
    """A module with `measure`, and the minutes that it may take on two cores."""

    module: Any
    minutes: float
    alone: bool = False  # measured only where it is asked for

    @property
    def measure(self) -> Callable[[], dict[str, Any]]:
        return self.module.measure  # type: ignore[no-any-return]


PARTS = {  # all but what is measured alone in 25 minutes
    "start_up": Part(start_up, 1.25),
    "pipeline": Part(pipeline, 4.25),
    "controller": Part(controller, 0.75),
    "image_children": Part(image_children, 1.5),
    "recurrent": Part(recurrent, 1.75),
    "throughput": Part(throughput, 10.75),
    "quality": Part(quality, 2.6),
    "small_scale": Part(small_scale, 2.15),
    "scale": Part(scale, 30, alone=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for, or all but those that want to be alone."""
    usual = ", ".join(name for name, part in PARTS.items() if not part.alone)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; without: {usual}")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the JSON files")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"part {unknown[0]!r}: allowed are {', '.join(PARTS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.parts or [name for name, part in PARTS.items() if not part.alone]:
        part = PARTS[name]
        print(f"\n{name}: {part.minutes:g} minutes at most …", flush=True)
        started = time.monotonic()
        measured = part.measure()
        minutes = (time.monotonic() - started) / 60
        measured["minutes"] = minutes
        measured.setdefault("summary", []).append(
            summary.finding("time that this part took", [minutes], "minutes", at_most=part.minutes)
        )
        path = options.output / f"{name}.json"
        path.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"{_table(part, measured)}\n\nwritten to {path}", flush=True)
    text = tables(options.output)
    path = options.output / "tables.md"
    path.write_text(text)
    print(f"\n{text.partition('## ')[0]}All tables: {path}")
    return 0


def tables(folder: Path) -> str:
    """Markdown of all that was measured into a folder: where, the goals missed, and of each part its table.

    Files without a summary are of an earlier version, and left out.
    """
    paths = {name: folder / f"{name}.json" for name in PARTS}
    read = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    found = {name: measured for name, measured in read.items() if "summary" in measured}
    places: dict[str, list[str]] = {}
    for name, measured in found.items():
        places.setdefault(describe(measured), []).append(name)
    where = [f"- {', '.join(names)}: {place}" if len(places) > 1 else f"{place}." for place, names in places.items()]
    total = sum(measured["minutes"] for name, measured in found.items() if not PARTS[name].alone)
    head = "\n".join(where) + f"\n\nThe parts of `make bench` here took {total:.1f} minutes together."
    head += "\n\n" + summary.headline({name: measured["summary"] for name, measured in found.items()}) + "\n"
    sections = []
    for name, measured in found.items():
        told = (PARTS[name].module.__doc__ or "").strip()
        sections.append(f"## {name}\n\n{told}\n\n{_table(PARTS[name], measured)}\n")
    return "\n".join([head, *sections])


def _table(part: Part, measured: dict[str, Any]) -> str:
    """What a part found, after a table of its own where it has one."""
    own = [part.module.table(measured)] if hasattr(part.module, "table") else []
    return "\n\n".join([*own, summary.table(measured["summary"])])


if __name__ == "__main__":
    sys.exit(main())
