"""What a material is: compositions, rules, distances, structures. No learning, no Prefect."""
