//! The services that watch and react, a file each: how they are opened, plugged into the switchboard, and run.

use std::error::Error;
use std::sync::Arc;

use cairn_services::Service;

use crate::serve::Ground;
use crate::stages::Stages;

/// What runs.
#[derive(Default)]
pub(crate) struct Watching {
    /// For the front door.
    pub(crate) services: Vec<Arc<dyn Service>>,
}

/// Opens the services and plugs them in.
pub(crate) fn open(_ground: &Ground) -> Result<Watching, Box<dyn Error>> {
    Ok(Watching::default())
}

impl Watching {
    /// Starts what the services do by themselves.
    pub(crate) fn start_stages(&self, _running: &mut Stages, _ground: &Ground) {}
}
