"""`python -m bench [PART …] [--output FOLDER]`: measure parts, print each one's table, and write it as JSON."""

import argparse
import json
import sys
import time
from pathlib import Path

from bench import controller, image_children, pipeline, quality, recurrent, scale, start_up, throughput

PARTS = {
    "start_up": start_up,
    "pipeline": pipeline,
    "controller": controller,
    "image_children": image_children,
    "recurrent": recurrent,
    "throughput": throughput,
    "quality": quality,
    "scale": scale,
}
ALONE = "scale"  # nearly half an hour, and no other load beside it


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for, or all but the one that wants to be alone."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; without, all but {ALONE}")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the JSON files")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"part {unknown[0]!r}: allowed are {', '.join(PARTS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    for part in options.parts or [part for part in PARTS if part != ALONE]:
        print(f"\n{part} …", flush=True)
        started = time.monotonic()
        measured = PARTS[part].measure()
        measured["minutes"] = (time.monotonic() - started) / 60
        print(PARTS[part].table(measured))
        path = options.output / f"{part}.json"
        path.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"{measured['minutes']:.1f} minutes; written to {path}")
    summary = options.output / "tables.md"
    summary.write_text(tables(options.output))
    print(f"\nAll tables: {summary}")
    return 0


def tables(folder: Path) -> str:
    """Markdown of all that was measured into a folder: of each part what it measures, where, and its table."""
    sections = []
    for part, module in PARTS.items():
        if not (path := folder / f"{part}.json").exists():
            continue
        measured = json.loads(path.read_text())
        where = ", ".join(str(measured[name]) for name in ("processor", "device") if measured.get(name))
        told = f"{where}, {measured['cores']} cores, torch {measured['torch']}" if "cores" in measured else where
        heading = f"## {part}\n\n{(module.__doc__ or '').strip()}\n\nOn {told}; {measured['minutes']:.1f} minutes."
        sections.append(f"{heading}\n\n{module.table(measured)}\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.exit(main())
