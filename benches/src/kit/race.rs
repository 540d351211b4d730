//! Two servers, asked in turns.

use std::io;
use std::time::Duration;

use super::{Served, Share, Span, time};

/// So many requests at once.
const BATCH: u32 = 512;

/// Ours, and the bare one.
#[derive(Debug)]
pub(super) struct Race([Runner; 2]);

#[derive(Debug)]
struct Runner {
    server: Served,
    /// For one request, in the cheapest batch.
    cheapest: Duration,
}

impl Race {
    pub(super) fn start(share: &Share) -> io::Result<Self> {
        Ok(Self([
            Runner::new((share.ours)()?)?,
            Runner::new((share.bare)()?)?,
        ]))
    }

    /// Asks them on, in turns, for about this long.
    pub(super) fn run(&mut self, span: Span) -> io::Result<()> {
        let mut spent = Duration::ZERO;
        while spent < span.0 {
            let mut asked = Ok(());
            spent += time(|| asked = self.0.iter_mut().try_for_each(Runner::run));
            asked?;
        }
        Ok(())
    }

    /// What ours can do of what the bare one can.
    pub(super) fn share(&self) -> f64 {
        let [ours, bare] = &self.0;
        bare.cheapest.div_duration_f64(ours.cheapest)
    }
}

impl Runner {
    /// Warmed up.
    fn new(mut server: Served) -> io::Result<Self> {
        server.ask(BATCH * 4)?;
        Ok(Self {
            server,
            cheapest: Duration::MAX,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let before = self.server.busy()?;
        self.server.ask(BATCH)?;
        let spent = self.server.busy()? - before;
        self.cheapest = self.cheapest.min(spent / BATCH);
        Ok(())
    }
}
