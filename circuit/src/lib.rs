//! A circuit breaker for tower services and any other future.
