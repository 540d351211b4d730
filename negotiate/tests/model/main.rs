//! Properties of the choice, against a naive reference.
