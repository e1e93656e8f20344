//! What names and paths may be. The wire checks lengths and patterns from the model before; these say the same to
//! every other caller.

use super::failure::{Failure, invalid};

/// The longest path.
const PATH_CHARS_MAX: usize = 512;
/// The longest name of a policy, managed or inline.
pub(super) const POLICY_NAME_CHARS_MAX: usize = 128;

pub(super) fn check_name(member: &str, name: &str, chars_max: usize) -> Result<(), Failure> {
    let valid = (1..=chars_max).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if valid {
        return Ok(());
    }
    Err(invalid(format!(
        "The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
    )))
}

pub(super) fn check_path(member: &str, path: &str) -> Result<(), Failure> {
    let valid = path == "/"
        || ((3..=PATH_CHARS_MAX).contains(&path.len())
            && path.starts_with('/')
            && path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    if valid {
        return Ok(());
    }
    Err(invalid(format!(
        "The specified value for {member} is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
    )))
}

/// The path where none is given.
pub(super) fn root_path() -> String {
    "/".to_owned()
}
