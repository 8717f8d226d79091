"""Programs that tests start are no tests."""

collect_ignore_glob = ["train_on_*.py"]
