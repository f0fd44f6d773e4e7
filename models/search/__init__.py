"""The search in latent space: candidates, surrogates and what is asked next."""
