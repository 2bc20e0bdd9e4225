"""The demo: a realistic export with every kind of trouble in it, loaded into a sandbox that makes trouble too."""

from rich.console import Console

from pipeline.core.errors import ExitCode


async def run(console: Console) -> ExitCode:
    return ExitCode.DONE
