"""What is learned: composition generators, property models and the latent search. No Prefect."""
