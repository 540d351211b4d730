//! When a client sends a request again.

use std::future::{Ready, ready};
use std::sync::Arc;

use buttress_circuit::Rejected;
use http::{Method, Request, Response, header};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

/// Retries `GET` once, within a budget that all requests of a stack share. What the breaker refused is not retried, for it would be refused
/// again; nor is what says when to come back.
#[derive(Clone, Debug)]
pub struct SafeRetries {
    budget: Arc<TpsBudget>,
    tries_left: usize,
}

impl Default for SafeRetries {
    fn default() -> Self {
        Self {
            budget: Arc::default(),
            tries_left: 1,
        }
    }
}

impl<A: Clone, B, E> Policy<Request<A>, Response<B>, E> for SafeRetries {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<A>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Self::Future> {
        if !result.as_ref().map_or(true, has_failed) {
            self.budget.deposit();
            return None;
        }
        let final_word = result.as_ref().is_ok_and(is_final);
        let may = !final_word
            && self.tries_left > 0
            && request.method() == Method::GET
            && self.budget.withdraw();
        self.tries_left = self.tries_left.saturating_sub(1);
        may.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<A>) -> Option<Request<A>> {
        Some(request.clone())
    }
}

fn has_failed<B>(response: &Response<B>) -> bool {
    response.status().is_server_error()
}

fn is_final<B>(response: &Response<B>) -> bool {
    response.extensions().get::<Rejected>().is_some()
        || response.headers().contains_key(header::RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request is sent again after such an answer.
    fn again(policy: &mut SafeRetries, method: Method, answer: http::response::Builder) -> bool {
        let mut request = Request::new(());
        *request.method_mut() = method;
        let mut answer = Ok::<_, ()>(answer.body(()).unwrap());
        policy.retry(&mut request, &mut answer).is_some()
    }

    #[test]
    fn a_get_that_failed_is_sent_once_more_and_nothing_else_is() {
        let failed = || Response::builder().status(500);
        let later = failed().header(header::RETRY_AFTER, "1");
        let fine = Response::builder();
        let missing = Response::builder().status(404);
        for (method, answer, expected) in [
            (Method::GET, failed(), true),
            (Method::POST, failed(), false),
            (Method::GET, later, false),
            (Method::GET, fine, false),
            (Method::GET, missing, false),
        ] {
            let words = format!("{method} {answer:?}");
            let is_again = again(&mut SafeRetries::default(), method, answer);
            assert_eq!(is_again, expected, "{words}");
        }
        let mut policy = SafeRetries::default();
        assert!(again(&mut policy, Method::GET, failed()));
        assert!(!again(&mut policy, Method::GET, failed()), "once is enough");
    }

    #[test]
    fn a_budget_that_is_spent_ends_retries_for_all() {
        let policy = SafeRetries::default();
        let failed = || Response::builder().status(500);
        // Each clone is another request's.
        let sent = (0..1000).filter(|_| again(&mut policy.clone(), Method::GET, failed()));
        assert!(sent.count() < 1000);
    }
}
