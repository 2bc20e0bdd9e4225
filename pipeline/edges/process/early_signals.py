"""Signals that come before a command can obey them: they are held, and do then what they do later.

A process takes half a second to import what it needs. A SIGTERM in that time would end it without a word, and a SIGHUP
would end a service that ought to read its configuration again. Nothing is lost: the system keeps one of each kind.
"""

import signal

#: The commands that obey signals once they run, and the signals that each obeys.
_OBEYED = {
    "serve": (signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    "load": (signal.SIGTERM, signal.SIGINT),
    "retry": (signal.SIGTERM, signal.SIGINT),
}


def hold_signals(arguments: list[str]) -> bool:
    """Hold the signals that the command in `arguments` obeys once it runs; False if it obeys none.

    Threads that are started meanwhile never get them, which is as well: the event loop does.
    """
    command = next((each for each in arguments if not each.startswith("-")), "")
    held = () if {"-h", "--help"} & {*arguments} else _OBEYED.get(command, ())
    if held:
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
    return bool(held)


def release_signals() -> None:
    """Let signals through, those that were held first: whoever calls has begun to listen to them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED["serve"])
