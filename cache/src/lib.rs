//! A tagged cache that cannot serve what was invalidated, and an HTTP cache layer on it.
