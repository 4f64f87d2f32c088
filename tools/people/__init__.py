"""People who chat, the history of what they asked and were answered, and the checker that holds it to the promises.

Each stage brings a Falcon and what may happen to it: ``tools.faults`` a machine, ``tools.chaos`` a cluster,
``tools.k8s_proof`` pods, ``tools.simulation`` clusters in memory.
"""
