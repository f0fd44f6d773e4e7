"""The pipeline, one module a stage, in order; each takes typed handles and gives typed handles.

A stage is a module-level function declared by `tasks.campaign.stage.stage`, and `agd stages` prints
what each takes and gives. Stage modules never import each other; they share the ledger, the handles
and the campaign.
"""
