"""Search: an Optuna study that proposes and records, and a Ray Tune driver that trains."""
