//! Trace context, request ids and one finished record per request, for tower servers and clients.
