"""Mistakes that Falcon does not make, each as replaced functions: the schedules must find what comes of them.

The ones that it once made are among them. Beside each stands the kind of schedules that finds it; ``seeds.json`` keeps
the seed of one that does, as long as the code is the same."""

from pathlib import Path
from typing import Final

from tools.simulation.mutants import edge, lives, log, operate, tables, write
from tools.simulation.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (
    *write.MUTANTS,
    *log.MUTANTS,
    *tables.MUTANTS,
    *edge.MUTANTS,
    *operate.MUTANTS,
    *lives.MUTANTS,
)
SEEDS: Final = Path(__file__).with_name("seeds.json")
