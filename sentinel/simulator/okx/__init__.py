"""The dialect of OKX."""
