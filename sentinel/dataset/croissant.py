"""The manifest once more in Croissant 1.0, as catalogues of data sets read it: ``croissant.json``.

Made of the manifest and nothing else, so that it can be checked by making it again. It names the columns that every
file of a measurement has.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sentinel.dataset.manifest import Manifest
from sentinel.timing.instants import format_ns

CROISSANT = "croissant.json"
PARQUET = "application/x-parquet"
KINDS = {"int64": "sc:Integer", "double": "sc:Float", "bool": "sc:Boolean", "timestamp[ns, tz=UTC]": "sc:DateTime"}
FROM_PATH = {"exchange": r".*/exchange=([^/]*)/.*", "symbol": r".*/symbol=([^/]*)/.*"}
TERMS = ("citeAs", "column", "examples", "extract", "field", "fileProperty", "fileObject", "fileSet", "format")
MORE_TERMS = ("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references")
LAST_TERMS = ("regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform")
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in (*TERMS, *MORE_TERMS, *LAST_TERMS, "equivalentProperty")},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}


def croissant(manifest: Manifest) -> bytes:
    """The bytes of its file."""
    start, end = format_ns(manifest.start_ns), format_ns(manifest.end_ns)
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.name,
        "version": f"{manifest.number}.0.0",
        "description": manifest.description,
        "citeAs": f"{manifest.reference}, {start} to {end}, sha256:{manifest.identity}",
        "url": f"urn:sha256:{manifest.identity}",
        "datePublished": manifest.frozen[:10],
        "temporalCoverage": f"{start}/{end}",
        "creator": {"@type": "sc:Organization", "name": manifest.versions["software"]},
        "distribution": [*_files(manifest), *(_set(name) for name in manifest.measurements)],
        "recordSet": [_records(name, manifest.columns[name]) for name in manifest.measurements],
    }
    if manifest.licence:
        found["license"] = manifest.licence
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": PARQUET,
            "sha256": file.sha256,
        }
        for path, file in manifest.files.items()
    ]


def _set(measurement: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{measurement}-files",
        "name": f"{measurement}-files",
        "encodingFormat": PARQUET,
        "includes": f"archive/{measurement}/*/*/*/*.parquet",
    }


def _records(measurement: str, columns: dict[str, str]) -> dict[str, Any]:
    files = {"fileSet": {"@id": f"{measurement}-files"}}
    kinds = {
        name: KINDS.get(kind, "sc:Float" if kind.startswith("decimal") else "sc:Text") for name, kind in columns.items()
    }
    in_path = [
        _field(
            measurement,
            name,
            "sc:Text",
            files | {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": regex}},
        )
        for name, regex in FROM_PATH.items()
    ]
    in_file = [_field(measurement, name, kind, files | {"extract": {"column": name}}) for name, kind in kinds.items()]
    return {"@type": "cr:RecordSet", "@id": measurement, "name": measurement, "field": [*in_path, *in_file]}


def _field(measurement: str, name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{measurement}/{name}",
        "name": name,
        "dataType": kind,
        "source": source,
    }
