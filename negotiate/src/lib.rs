//! HTTP content negotiation for tower services: exact, allocation-free, streaming.
