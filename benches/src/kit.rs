//! How things are measured: the same way for us, for the bare service and for the machine itself.

mod calibration;
mod drive;
mod measure;
mod report;
mod row;
mod work;

pub use calibration::{REFERENCE_NANOS, calibration};
pub use drive::{body_to_end, call};
pub use measure::{Contest, Figures, Span, time};
pub use report::{Line, Report, Verdict};
pub use row::{Budget, Call, Memory, Row, Zero};
pub use work::Work;
