"""What a running collector tells: its status, alerts, logs, metrics, page and terminal."""
