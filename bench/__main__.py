"""`python -m bench PART [--output FOLDER]`: measure a part, print its table, and write it as JSON."""

import argparse
import json
import sys
from pathlib import Path

from bench import controller, pipeline, recurrent, scale

PARTS = {"pipeline": pipeline, "controller": controller, "recurrent": recurrent, "scale": scale}


def main(arguments: list[str] | None = None) -> int:
    """Measure the parts asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; without, all")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the JSON files")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"part {unknown[0]!r}: allowed are {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        measured = PARTS[part].measure()
        print(PARTS[part].table(measured))
        path = options.output / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=2) + "\n")
        print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
