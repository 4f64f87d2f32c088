"""Proofs on a real node of Kubernetes; ``make k8s-up`` starts one, ``make k8s-test`` runs these there."""
