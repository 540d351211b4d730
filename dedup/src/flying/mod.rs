//! The way of one caller through a flight: the same for futures, for any tower service and for HTTP.
//!
//! A [`Shell`] says what the values mean, a [`Start`] begins the work, a [`Mode`] says what becomes of work that loses its caller. [`Run`] is
//! the machine, and [`Leading`] the part of it that does the work for everyone.

mod call;
#[cfg(feature = "detached")]
mod detach;
mod leading;
mod mode;
mod run;
mod shell;

#[cfg(feature = "http")]
pub use self::call::Call;
pub use self::call::{Ready, Start};
#[cfg(feature = "detached")]
pub use self::detach::Detach;
pub use self::leading::{Alone, Leading};
#[cfg(feature = "detached")]
pub use self::mode::Detached;
pub use self::mode::{Inline, Mode};
pub use self::run::Run;
pub use self::shell::{Others, Received, Shell};
