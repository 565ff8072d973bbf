//! The programs that take part, built for release.

use std::path::{Path, PathBuf};

use crate::build::{self, Profile};

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) kern: PathBuf,
    pub(super) floor: PathBuf,
    pub(super) load: PathBuf,
    pub(super) rmcp: Option<PathBuf>,
}

impl Programs {
    /// Builds what is not given; the first time takes minutes.
    pub(super) fn ready(root: &Path, kern: Option<&Path>, rmcp: bool) -> Result<Self, String> {
        let kern = build::kern(root, kern, Profile::Release)?;
        let bench = root.join("bench");
        let build = |package| build::program(&bench, package, Profile::Release);
        let (floor, load) = (build("floor")?, build("load")?);
        let rmcp = rmcp.then(|| build("rmcp-server")).transpose()?;
        Ok(Self { kern, floor, load, rmcp })
    }
}
