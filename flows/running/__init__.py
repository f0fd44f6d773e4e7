"""How a run is planned, started and watched."""
