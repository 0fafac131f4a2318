"""`python -m pipeline`, which is also installed as `wavenas`."""

from pipeline.interruption import end_at_once


def main() -> None:
    """The entry point. Ctrl-C may come while the rest is imported."""
    end_at_once()
    from pipeline.command_line import app

    app()


if __name__ == "__main__":  # spawned workers import this module again
    main()
