"""What is learned: composition generators, property models and the search. No Prefect."""
