//! What the trace layers tell, from all three places: the client, and the two services.

use std::sync::Arc;

use buttress_trace_ctx::{Finished, JsonLines, Sink};
use tokio::sync::watch;

/// One record, for people.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) trace: String,
    span: String,
    parent: Option<String>,
    pub(crate) line: String,
}

/// Keeps records for the story, or writes them as lines of JSON.
#[derive(Clone)]
pub(crate) struct Records {
    kept: Option<Arc<watch::Sender<Vec<Record>>>>,
}

impl Records {
    pub(crate) fn kept() -> Self {
        Self {
            kept: Some(Arc::default()),
        }
    }

    pub(crate) fn written() -> Self {
        Self { kept: None }
    }

    pub(crate) fn sink(&self) -> impl Sink<Span: Send> + Send + Sync + 'static + use<> {
        let lines = self.kept.is_none().then(JsonLines::stdout);
        let kept = self.kept.clone();
        let keep = move |finished: &Finished<'_>| {
            if let Some(kept) = &kept {
                kept.send_modify(|records| records.push(record(finished)));
            }
        };
        (lines, keep)
    }

    /// Takes the records out, as soon as there are so many.
    pub(crate) async fn take(&self, number: usize) -> Vec<Record> {
        let Some(kept) = &self.kept else {
            return Vec::new();
        };
        // The sender lives as long as we do.
        let _ = kept.subscribe().wait_for(|all| all.len() >= number).await;
        from_the_top(kept.send_replace(Vec::new()))
    }
}

/// Each below its parent: they are told as they end, the innermost first, and at a deadline all at once.
fn from_the_top(mut records: Vec<Record>) -> Vec<Record> {
    let mut sorted: Vec<Record> = Vec::with_capacity(records.len());
    while !records.is_empty() {
        let parent = sorted.last().map(|record| &record.span);
        let next = records.iter().position(|r| r.parent.as_ref() == parent);
        sorted.push(records.swap_remove(next.unwrap_or(0)));
    }
    sorted
}

fn record(finished: &Finished<'_>) -> Record {
    let context = finished.context;
    let span = context.span_id().to_string();
    let parent = context.parent_id().map(|id| id.to_string());
    let route = finished.route.map_or("-", |route| route.as_str());
    let status = match finished.grpc_status {
        Some(code) => format!("{:?}", tonic::Code::from(code.cast_signed())),
        None => finished.outcome.to_string(),
    };
    let below = parent.as_deref().unwrap_or("nothing");
    let kind = finished.kind.as_str();
    Record {
        trace: context.trace_id().to_string(),
        line: format!("{kind:6}  {route:20} {status:16} span {span} below {below}"),
        span,
        parent,
    }
}
