//! Two servers, asked in turns.

use std::io;
use std::time::Duration;

use super::{Served, Share, Span, time};

/// So many requests at once.
const BATCH: u32 = 512;

/// Ours, and the bare one.
#[derive(Debug)]
pub(super) struct Race {
    ours: Served,
    bare: Served,
    /// What ours could do of what the bare one could, in each round: what is on the machine just then is in both. How many requests come at once, and so how often a server is
    /// woken, differs from round to round, and so the cheapest of one says nothing beside the cheapest of the other.
    shares: Vec<f64>,
}

impl Race {
    pub(super) fn start(share: &Share) -> io::Result<Self> {
        Ok(Self {
            ours: warm((share.ours)()?)?,
            bare: warm((share.bare)()?)?,
            shares: Vec::new(),
        })
    }

    /// Asks them on, in turns, for about this long, and at least once.
    pub(super) fn run(&mut self, span: Span) -> io::Result<()> {
        let mut spent = Duration::ZERO;
        while spent < span.0 {
            let mut asked = Ok(());
            spent += time(|| asked = self.round());
            asked?;
        }
        Ok(())
    }

    fn round(&mut self) -> io::Result<()> {
        let (ours, bare) = (busy(&mut self.ours)?, busy(&mut self.bare)?);
        self.shares.push(bare.div_duration_f64(ours));
        Ok(())
    }

    /// What ours can do of what the bare one can, in the middle of all rounds.
    pub(super) fn share(&self) -> f64 {
        let mut shares = self.shares.clone();
        shares.sort_by(f64::total_cmp);
        shares.get(shares.len() / 2).copied().unwrap_or_default()
    }
}

fn warm(mut server: Served) -> io::Result<Served> {
    server.ask(BATCH * 4)?;
    Ok(server)
}

/// For how long it has had a processor for one batch.
fn busy(server: &mut Served) -> io::Result<Duration> {
    let before = server.busy()?;
    server.ask(BATCH)?;
    Ok(server.busy()? - before)
}
