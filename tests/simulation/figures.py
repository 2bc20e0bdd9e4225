"""What schedules come to, in numbers."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """What schedules came to; `unchanged`: the rows left out as such; `kinds` counts durable steps by name."""

    schedules: int = 0
    crashes: int = 0
    failed_steps: int = 0
    unchanged: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def steps(self) -> int:
        """Durable steps."""
        return self.kinds.total()

    def add(self, other: "Figures") -> None:
        """Count these too."""
        self.schedules += other.schedules
        self.crashes += other.crashes
        self.unchanged += other.unchanged
        self.failed_steps += other.failed_steps
        self.kinds += other.kinds
