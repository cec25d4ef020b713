//! Where the operators and their audio are: as `contesta run` finds them.

use std::path::{Path, PathBuf};

use crate::config::Paths;
use crate::edge::config_file::{self, Overrides};

/// The folder of the operators.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct FlowsArgs {
    /// Settings of this machine; without it `contesta.toml`, if there is one here.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the operators; without it the one of the settings.
    #[arg(long)]
    flows: Option<PathBuf>,
}

/// The folders of the operators and of their audio.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct FoldersArgs {
    #[command(flatten)]
    flows: FlowsArgs,
    /// Folder of the audio; without it the one of the settings.
    #[arg(long)]
    prompts: Option<PathBuf>,
}

impl FlowsArgs {
    /// The folder of the operators, or this one in its place.
    ///
    /// # Errors
    /// The settings cannot be read, or have faults.
    pub(super) fn settle(&self) -> anyhow::Result<PathBuf> {
        Ok(settle(self, None)?.flows)
    }
}

impl FoldersArgs {
    /// Both folders.
    ///
    /// # Errors
    /// The settings cannot be read, or have faults.
    pub(super) fn settle(&self) -> anyhow::Result<Paths> {
        settle(&self.flows, self.prompts.as_deref())
    }
}

fn settle(args: &FlowsArgs, prompts: Option<&Path>) -> anyhow::Result<Paths> {
    let overrides =
        Overrides { flows: args.flows.clone(), prompts: prompts.map(Path::to_owned), ..Overrides::default() };
    Ok(config_file::settings(args.config.as_deref(), &overrides)?.paths)
}
