"""The pipeline, one module a stage, in order; each takes typed handles and gives typed handles.

========== =========================================== ========================================
stage      in                                          out
========== =========================================== ========================================
ingest     tables, CIF folders, ASE databases          initial labels, known keys, templates
train      labelled compositions, structures           weights with model cards
explore    labels, the autoencoder, an oracle          visited compositions with labels
oracle     a batch of compositions                     labels at once, or pending job ids
sample     a generator and a shard number              a shard of drawn compositions
screen     shards, rules, the screening model          novel valid candidates in the window
template   candidates, the template library            crystal structures by substitution
filter     structures, the formation-energy network    candidates with negative formation energy
handoff    survivors, a recipe                         DFT job directories
collect    finished job directories                    labels in the ledger
report     everything above                            one page, artifacts
========== =========================================== ========================================

Stage modules never import each other; they share the ledger, the handles and the campaign.
"""
