"""How physics is asked: recipes, inputs, job directories and results. No learning, no Prefect."""
