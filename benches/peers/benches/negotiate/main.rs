//! Content negotiation: the choice by itself, and a reply that is written in what was chosen.

mod choice;
mod reply;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    negotiate,
    choice::browser,
    choice::json,
    choice::thousand,
    reply::replies
);
criterion_main!(negotiate);
