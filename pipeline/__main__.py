"""The entry point of the `profile-pipeline` command."""

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line."""
    # What is imported stays: looking for garbage in it again and again took a quarter of the start-up.
    gc.disable()
    from pipeline.cli import main as command_line

    gc.freeze()
    gc.enable()
    command_line()


if __name__ == "__main__":
    main()
