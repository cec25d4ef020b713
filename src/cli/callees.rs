//! Whom flows lead callers to by a trunk has to be somebody whom the trunk calls: what flows and `contesta.toml` say of each other is known only
//! where both are read.

use anyhow::{Context, bail};

use crate::call::Tenant;
use crate::config::Config;
use crate::fault;
use crate::flow::Callee;

/// Checks every `transfer` to a number outside against the trunks.
///
/// # Errors
/// A step names a trunk that is not there, or a number that its `allow` does not name.
pub fn check<'a>(tenants: impl IntoIterator<Item = &'a Tenant>, config: &Config) -> anyhow::Result<()> {
    for flow in tenants.into_iter().flat_map(|tenant| tenant.flows.iter()) {
        for step in &flow.steps {
            let Some(Callee::Trunk { trunk: name, number }) = step.callee() else { continue };
            let place = || format!("the step «{}» of the flow {} cannot lead to {number}", step.name, flow.id);
            let names = || config.trunks.iter().map(|trunk| trunk.name.as_str());
            let Some(trunk) = config.trunks.iter().find(|trunk| trunk.name == *name) else {
                match fault::did_you_mean(name, names()) {
                    Some(near) => bail!("{}: there is no trunk «{name}»: did you mean «{near}»?", place()),
                    None => bail!("{}: there is no trunk «{name}» in contesta.toml", place()),
                }
            };
            trunk.numbers.dial(number).map(drop).with_context(|| format!("{} by the trunk «{name}»", place()))?;
        }
    }
    Ok(())
}
