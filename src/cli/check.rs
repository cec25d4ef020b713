//! `contesta check [DIR]`: every fault of every operator's files, drawn over its line.

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::columns::counted;
use crate::cli::folders::FlowsArgs;
use crate::edge::files;
use crate::fault::{self, Fault, Severity, SourceFile};
use crate::{flow, operator};

/// Check the operators' files and flows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the operators, or of one operator; without it the one of the settings.
    dir: Option<PathBuf>,
    #[command(flatten)]
    flows: FlowsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints every fault. Warnings alone are no failure.
///
/// # Errors
/// Some file has an error, or nothing can be read.
pub fn run(args: Args) -> anyhow::Result<()> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => args.flows.settle()?,
    };
    let sources = files::read_operators(&dir)?;
    let faults = check(&sources);
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
    let warnings = faults.len() - errors;
    if args.json {
        let rows: Vec<serde_json::Value> = faults.iter().map(json).collect();
        println!("{:#}", serde_json::json!({ "errors": errors, "warnings": warnings, "faults": rows }));
    } else {
        if !faults.is_empty() {
            println!("{}\n", fault::render_all(&faults, &sources.concat()));
        }
        let files: usize = sources.iter().map(Vec::len).sum();
        let [operators, files] = [counted(sources.len(), "operator"), counted(files, "file")];
        println!("{operators}, {files}: {}, {}", counted(errors, "error"), counted(warnings, "warning"));
    }
    if errors > 0 {
        bail!("{} in {}", counted(errors, "error"), dir.display());
    }
    Ok(())
}

/// Every fault of every operator: its own files', its flows', and what two operators both claim.
fn check(sources: &[Vec<SourceFile>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for files in sources {
        match operator::load(files) {
            Ok(operator) => faults.extend(flow::check(&operator, files)),
            Err(found) => faults.extend(found),
        }
    }
    if !fault::any_error(&faults)
        && let Err(found) = operator::load_all(sources)
    {
        faults.extend(found);
    }
    faults
}

fn json(fault: &Fault) -> serde_json::Value {
    serde_json::json!({
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "severity": match fault.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": fault.message,
        "suggestion": fault.suggestion,
    })
}
