"""The entry point of the `profile-pipeline` command."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
