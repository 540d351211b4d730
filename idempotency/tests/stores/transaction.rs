//! Effect and record in one transaction, on each database that can.

mod cases;
mod databases;

use self::databases::Database;

async fn all<D: Database>(database: D) {
    cases::effect_and_record_are_one(&database).await;
    cases::a_transaction_that_fails_leaves_nothing(&database).await;
    cases::a_zombie_rolls_back_and_its_client_gets_the_winners_response(&database).await;
    cases::a_commit_whose_answer_was_lost_is_looked_up(&database).await;
    cases::a_commit_that_was_not_done_is_known_not_to_be(&database).await;
    cases::a_second_effect_is_not_for_the_same_key(&database).await;
    cases::a_second_effect_is_not_committed_after_a_commit_that_was_not_answered(&database).await;
    cases::who_could_not_complete_may_try_again(&database).await;
    cases::what_completes_in_a_transaction_is_believed_when_the_store_says_so(&database).await;
    cases::what_was_rolled_back_is_settled_by_the_layer(&database).await;
    cases::a_request_that_is_dropped_at_any_await_has_one_effect(&database).await;
    cases::a_connection_that_is_in_no_transaction_is_refused(&database).await;
    cases::a_response_over_the_limit_is_a_tombstone_and_streams_on(&database).await;
    cases::a_stream_of_events_is_committed_with_its_head(&database).await;
    assert_eq!(database.nested().await, [false, true]);
    cases::a_transaction_of_another_database_is_refused(&database).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    all(databases::OnPostgres::start().await).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    all(databases::OnSqlite::start().await).await;
}
