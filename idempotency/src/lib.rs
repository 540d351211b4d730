//! Idempotency-Key for tower services: one effect per key, the first response replayed byte for byte.
