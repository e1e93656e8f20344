//! `cairn env`: the lines that point a shell's AWS clients at a server.

use std::error::Error;
use std::path::{Path, PathBuf};

use cairn_core::AccountId;
use cairn_store::seal;

use crate::data_folder::{self, RootKeys, ServerFile};
use crate::root_key;

/// Prints the `export` lines for the account's root user.
#[allow(clippy::print_stdout, reason = "the lines are the command's output")]
pub fn print(
    data: &Path,
    account: Option<&AccountId>,
    root_key_file: Option<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    let (server, keys) = place_and_keys(data, account, root_key_file)?;
    print!("{}{}", place_lines(&server), key_lines(&keys));
    Ok(())
}

/// Where the server of a data folder is, and the root keys of an account, or of the first.
pub fn place_and_keys(
    data: &Path,
    account: Option<&AccountId>,
    root_key_file: Option<PathBuf>,
) -> Result<(ServerFile, RootKeys), Box<dyn Error>> {
    let server = data_folder::read_server(data)?;
    let root = root_key::source(data, root_key_file, root_key::passphrase(root_key::PASSPHRASE))?;
    let sealer = seal::root::open_existing(&data_folder::seal_path(data), &root)?;
    let accounts = data_folder::read_credentials(data, &sealer)?;
    let wanted = |keys: &RootKeys| account.is_none_or(|account| keys.account == *account);
    let keys = accounts.into_iter().find(wanted).ok_or_else(|| match account {
        Some(account) => format!("there is no account {account} in {}", data.display()),
        None => format!("there is no account in {}", data.display()),
    })?;
    Ok((server, keys))
}

/// The lines that name the endpoint and the region.
pub fn place_lines(server: &ServerFile) -> String {
    format!("export AWS_ENDPOINT_URL={}\nexport AWS_DEFAULT_REGION={}\n", server.endpoint, server.region)
}

/// The lines that hold the keys. A session token that the shell still has belongs to other keys and would be refused
/// with these.
pub fn key_lines(keys: &RootKeys) -> String {
    format!(
        "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nunset AWS_SESSION_TOKEN\n",
        keys.access_key_id, keys.secret_access_key
    )
}
