"""Constants of a run: chosen, written, deployed and audited."""
