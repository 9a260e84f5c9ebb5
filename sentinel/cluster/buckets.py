"""Key-value buckets: made where they are missing, on as many servers as there are."""

from __future__ import annotations

from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, ServerError, ServiceUnavailableError
from nats.js.kv import KeyValue

from sentinel.cluster.session import Session


async def bucket(session: Session, name: str, ttl_s: float | None = None) -> KeyValue:
    """The bucket of this name, whose keys end after ``ttl_s``.

    Raises:
        nats.errors.Error, TimeoutError: while the servers are away, or refuse.
    """
    try:
        return await session.jetstream.key_value(name)
    except BucketNotFoundError:
        replicas = session.settings.stream_replicas
        while True:
            config = KeyValueConfig(name, replicas=replicas, ttl=ttl_s)
            try:
                return await session.jetstream.create_key_value(config)
            except (ServerError, ServiceUnavailableError):  # more replicas than there are servers
                if replicas == 1:
                    raise
                replicas -= 1
