"""When and in what order the stages run: flows, their configuration and the command line."""
