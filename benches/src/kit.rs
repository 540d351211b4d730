//! How things are measured: the same way for us, for the bare service and for the machine itself.

mod calibration;
mod callgrind;
mod drive;
mod measure;
mod race;
mod report;
mod row;
mod served;
mod work;

pub use calibration::{REFERENCE_NANOS, calibration};
pub use callgrind::{Counted, Uncounted, count_instructions};
pub use drive::{body_to_end, call};
pub use measure::{Contest, Figures, Span, time};
pub use report::{Line, Report, Verdict};
pub use row::{Budget, Call, Memory, Row, Share, Zero};
pub use served::{Served, serve, serve_on, spawn};
pub use work::Work;
