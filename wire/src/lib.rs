//! What Buttress's HTTP crates share: field lexing, problem and gRPC refusals, responses that are kept while they stream.
