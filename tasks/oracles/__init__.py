"""Who answers: a model, a table or DFT."""
