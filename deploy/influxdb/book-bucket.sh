#!/bin/bash
# InfluxDB's image makes one bucket, for trades; books, which are most of the bytes, get one with a retention of its own.
set -euo pipefail
influx bucket create --name "$BOOK_BUCKET" --retention "$BOOK_RETENTION"
