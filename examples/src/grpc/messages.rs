//! What goes over the wire. In place of a `.proto` file, so that nothing but cargo is needed.

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NewOrder {
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(uint32, tag = "2")]
    pub(crate) quantity: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Order {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) item: String,
    #[prost(uint32, tag = "3")]
    pub(crate) quantity: u32,
    /// What the stock service says it is.
    #[prost(uint64, tag = "4")]
    pub(crate) reservation: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Watch {}

/// One message of the stream that `Watch` answers with.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct News {
    #[prost(string, tag = "1")]
    pub(crate) what: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reserve {
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(uint32, tag = "2")]
    pub(crate) quantity: u32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Reserved {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
}
