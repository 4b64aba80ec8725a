"""The pieces of an upload are bytes like any others (tus 1.0.0)."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
