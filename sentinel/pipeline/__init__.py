"""Frames in, lines out. Pure: no clock, no I/O, no logging, no randomness."""

from sentinel.contract.gaps import Cause
from sentinel.pipeline.inputs import (
    BookAnswer,
    Command,
    FetchBook,
    FetchedBook,
    LanePlan,
    Note,
    Output,
    Reconnect,
    Repair,
    RepairAnswer,
    Retire,
    Send,
    Settings,
    Succeed,
)
from sentinel.pipeline.pipeline import Pipeline

__all__ = [
    "BookAnswer",
    "Cause",
    "Command",
    "FetchBook",
    "FetchedBook",
    "LanePlan",
    "Note",
    "Output",
    "Pipeline",
    "Reconnect",
    "Repair",
    "RepairAnswer",
    "Retire",
    "Send",
    "Settings",
    "Succeed",
]
