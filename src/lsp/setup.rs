//! What the command passes to the language server.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crm_check::check::{Applier, Judge};
use crm_core::api::Target;
use crm_core::existence::Fact;
use crm_manifest::{Variables, Walk};

/// Sets up a folder. The error is for the user.
pub type SetUp = Box<dyn Fn(&Path) -> Result<Setup, String>>;
/// Looks up objects in a cluster. The error is for the user.
pub type LookUp = Box<dyn Fn(HashSet<Target>) -> Result<HashMap<Target, Fact>, String> + Send>;

/// What the server needs from outside.
pub struct Host {
    /// Sets up a folder by its root.
    pub set_up: SetUp,
    /// Looks up objects, if there is a cluster to ask.
    pub look_up: Option<LookUp>,
}

/// How the files of a folder are found and judged.
pub struct Setup {
    /// Judges.
    pub judge: Judge,
    /// The tool that applies the files.
    pub applier: Option<Applier>,
    /// Which files are left out.
    pub walk: Walk,
    /// Those that are replaced in the objects.
    pub variables: Variables,
    /// The files and directories to read; the folder if there are none.
    pub paths: Vec<PathBuf>,
    /// Files and directories with objects that exist elsewhere.
    pub resources: Vec<PathBuf>,
    /// Whether every object that is in none of the files is missing.
    pub is_complete: bool,
    /// The files that decide about the other fields, such as the policy.
    pub sources: Vec<PathBuf>,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The client asked to shut down before.
    Clean,
    /// The client disappeared, or asked to exit without a shutdown.
    Early,
}
