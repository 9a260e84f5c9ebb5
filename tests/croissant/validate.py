"""Run by the Python of the environment with ``mlcroissant``: what it makes of a data set's ``croissant.json``.

Prints, as JSON, what it objects to and the records it reads of each measurement. It imports nothing of ours.
"""

from __future__ import annotations

import json
import sys

import mlcroissant

found = mlcroissant.Dataset(jsonld=sys.argv[1])
issues = found.metadata.issues
rows = {
    records.name: [
        {
            field.partition("/")[2]: value.decode() if isinstance(value, bytes) else str(value)
            for field, value in row.items()
        }
        for row in found.records(records.uuid)
    ]
    for records in found.metadata.record_sets
}
json.dump({"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "rows": rows}, sys.stdout)
