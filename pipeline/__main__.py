"""`python -m pipeline`, which is also installed as `wavenas`."""

from pipeline.command_line import main

if __name__ == "__main__":  # spawned workers import this module again
    main()
