//! Rules that fire by the clock.

use super::error::{Failure, validation};

/// The schedule, where it is one.
pub(super) fn parsed(_text: &str) -> Result<(), Failure> {
    Err(validation("Parameter ScheduleExpression is not supported."))
}
