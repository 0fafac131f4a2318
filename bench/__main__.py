"""`python -m bench [PART …] [--output FOLDER]`: measure parts, print each one's table, and write it as JSON."""

import argparse
import json
import sys
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
ALONE = "scale"  # a quarter of an hour, and no other load beside it


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for, or all but the one that wants to be alone."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; without, all but {ALONE}")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the JSON files")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"part {unknown[0]!r}: allowed are {', '.join(PARTS)}")
    for part in options.parts or [part for part in PARTS if part != ALONE]:
        measured = PARTS[part].measure()
        print(PARTS[part].table(measured))
        path = options.output / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
