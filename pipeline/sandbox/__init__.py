"""The sandbox: a Target that runs here, for the embedded default, the demo and the tests.

It answers the Bulk Profile Update API as Adobe documents it, applies accepted batches late and in any order, makes the
faults it is asked for, and records the mistakes of a sender. It shares no code with the rest of the program, so that a
mistake there is not mirrored here.

Where to start reading: `batch.py` (the meaning of a body), `acceptance.py` (the fate of a batch), `faults.py`,
`sandbox.py` (all behind one lock), `server.py` and `views.py` (HTTP). Not modelled: the 64 KB of data that a profile
may hold, and the 0.1 % of rows that Adobe does not promise to keep.
"""

from pipeline.sandbox.faults import Fault, FaultPlan
from pipeline.sandbox.mistakes import Mistake, MistakeKind
from pipeline.sandbox.options import SandboxOptions
from pipeline.sandbox.runner import Running, running, serving
from pipeline.sandbox.sandbox import Sandbox

__all__ = [
    "Fault",
    "FaultPlan",
    "Mistake",
    "MistakeKind",
    "Running",
    "Sandbox",
    "SandboxOptions",
    "running",
    "serving",
]
