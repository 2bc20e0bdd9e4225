"""A sandbox that validates and counts batches and keeps nothing, in a process of its own. Prints its URL."""

import asyncio

from pipeline.sandbox import FaultPlan, SandboxOptions, serve_forever

OPTIONS = SandboxOptions(apply_min_s=0.1, apply_max_s=0.5, calls_per_minute=None, keep_profiles=False)


def main() -> None:
    serve = serve_forever(
        OPTIONS, host="127.0.0.1", port=0, faults=FaultPlan(), announce=lambda url: print(url, flush=True)
    )
    asyncio.run(serve)


if __name__ == "__main__":
    main()
